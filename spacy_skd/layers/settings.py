"""What a config says of a model, beside the weights that are loaded into it.

thinc saves the `attrs` of layers with their weights and loads them over what the model was made
with, so that settings of the config, and what `spacy.load(path, config=...)` puts in their place,
would be forgotten.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from thinc.api import Model

FREE = {
    "by_sentence": ("max_length", "sentences"),
    "arc_structure": ("structure", "projective", "iterations", "max_length", "sentences"),
    "span_structure": ("loss",),
}
"""By layer, the settings that go with any weights: the config's hold."""
FIXED = {
    "arc_structure": ("factors",),
    "arc_scores": ("distances",),
    "arc_relations": ("distances",),
    "trilinear": ("rank",),
    "label_trees": ("codes",),
}
"""Those that weights are made for, where dimensions do not tell."""


@contextmanager
def settings_of_config(model: Model) -> Iterator[None]:
    """Load a model that has just been made within this: the settings it was made with stay.

    Raises ValueError for weights that were not made for them.
    """
    free = [(layer, _settings(layer, FREE)) for layer in model.walk()]
    fixed = [(layer, _settings(layer, FIXED)) for layer in model.walk()]
    yield
    for layer, given in fixed:
        for name, value in given.items():
            if layer.attrs[name] != value:
                raise ValueError(
                    f"the model is made with {name} = {value!r}, but its weights are those of a "
                    f"model with {name} = {layer.attrs[name]!r}"
                )
    for layer, given in free:
        layer.attrs.update(given)


def check_at_least(least: int, **numbers: int) -> None:
    """Raise ValueError, by its name, for a number that is less."""
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} should be at least {least}, but it is {number}.")


def _settings(layer: Model, names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    kind = layer.name.partition("(")[0]  # of what it is around, by_sentence(...) says the name
    return {name: layer.attrs[name] for name in names.get(kind, ()) if name in layer.attrs}
