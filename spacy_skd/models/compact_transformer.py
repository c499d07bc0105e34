"""A transformer with fewer layers, started from chosen layers of a larger one (docs/gpu.md)."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

# What the transformers library calls an encoder's list of layers: `encoder.layer` in BERT, RoBERTa,
# XLM-R and ELECTRA, `transformer.layer` in DistilBERT.
LAYER_LISTS = ("layer", "layers")
# Settings by which a layer's kind depends on its number, as in ModernBERT: renumbered, it would be
# another.
KINDS = ("global_attn_every_n_layers", "layer_types")
SIZE = "num_hidden_layers"


def compact_transformer(
    transformer: Any, settings: Mapping[str, Any], layers: Sequence[int] | None = None
) -> tuple[Any, list[int]]:
    """A copy of a transformer that keeps only some of its layers, and the numbers of these.

    transformer: a torch encoder of the transformers library, which is not changed.
    settings: what differs in the copy's configuration. `num_hidden_layers` is how many layers it
        keeps; without it, all of them, or as many as `layers` says.
    layers: numbers of the kept layers, from 0, in ascending order; None for evenly spaced ones.

    Everything outside the layers is copied too, embeddings above all. The copy is on the CPU.
    Starting a student so: Sanh et al. 2019, "DistilBERT" (§3).

    Raises ValueError if the layers cannot be found or are of several kinds, if chosen ones do not
    exist or are not as many as `num_hidden_layers`, and if the settings change a weight's shape.
    """
    place, n_layers = layer_list(transformer)
    check_kinds(transformer)
    kept = chosen_layers(n_layers, settings.get(SIZE), layers)
    config = copy.deepcopy(transformer.config)
    config.update({**settings, SIZE: len(kept)})
    compact = type(transformer)(config)
    weights = {}
    for name, weight in transformer.state_dict().items():
        number, dot, rest = name.removeprefix(f"{place}.").partition(".")
        if not name.startswith(f"{place}."):
            weights[name] = weight
        elif int(number) in kept:
            weights[f"{place}.{kept.index(int(number))}{dot}{rest}"] = weight
    _check_shapes(weights, compact.state_dict())
    compact.load_state_dict(weights)
    return compact, kept


def check_kinds(transformer: Any) -> None:
    """Raise ValueError if what a layer of a transformer is depends on its number."""
    for setting in KINDS:
        if getattr(transformer.config, setting, None):
            raise ValueError(
                f"{type(transformer).__name__} has layers of several kinds ({setting} in its "
                "configuration), so no student can be made of some of them. Start it from a "
                "pretrained transformer of its own size: teacher = null."
            )


def layer_list(transformer: Any) -> tuple[str, int]:
    """Where in a transformer its layers are (a dotted name), and how many it has.

    Raises ValueError if there is not exactly one list of as many layers as its configuration says.
    """
    from torch.nn import ModuleList

    n_layers: Any = getattr(transformer.config, SIZE, None)
    found = [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, ModuleList)
        and name.rpartition(".")[2] in LAYER_LISTS
        and len(module) == n_layers
    ]
    if len(found) != 1:
        where = f"there are several: {', '.join(found)}" if found else "there is none"
        raise ValueError(
            f"Cannot tell which layers a {type(transformer).__name__} has: it should have one list "
            f"called {' or '.join(LAYER_LISTS)} with {SIZE} = {n_layers} of them, but {where}. "
            "Take an encoder such as BERT, RoBERTa, XLM-R, ELECTRA or DistilBERT as the teacher's "
            "transformer, or start the student without the teacher (teacher = null)."
        )
    return found[0], n_layers


def chosen_layers(n_layers: int, n_kept: int | None, layers: Sequence[int] | None) -> list[int]:
    """The numbers of the layers that are kept of `n_layers`, in ascending order.

    Evenly spaced ones begin with the first: 0, 2, 4 for three of six.

    Raises ValueError if these cannot be chosen.
    """
    if layers is None:
        n_kept = n_layers if n_kept is None else n_kept
        if not 1 <= n_kept <= n_layers:
            raise ValueError(
                f"{SIZE} of the student is {n_kept}, but the teacher's transformer has {n_layers} "
                f"layers. Give a number from 1 to {n_layers}."
            )
        return [number * n_layers // n_kept for number in range(n_kept)]
    chosen = list(layers)
    if not chosen or chosen != sorted(set(chosen) & set(range(n_layers))):
        raise ValueError(
            f"The layers {chosen} cannot be taken from the teacher's transformer. Give ascending "
            f"numbers from 0 to {n_layers - 1}, or null for evenly spaced ones."
        )
    if n_kept not in (None, len(chosen)):
        raise ValueError(
            f"The layers {chosen} are {len(chosen)}, but {SIZE} of the student is {n_kept}. "
            "Make the two agree, or give null as the layers for evenly spaced ones."
        )
    return chosen


def _check_shapes(teacher: Mapping[str, Any], student: Mapping[str, Any]) -> None:
    shapes = [
        {name: tuple(weight.shape) for name, weight in weights.items()}
        for weights in (teacher, student)
    ]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        ours, theirs = (of.get(name, "missing") for of in reversed(shapes))
        if ours != theirs:
            raise ValueError(
                f"The student's transformer cannot start from its teacher's: the weight '{name}' "
                f"is {ours} in the student and {theirs} in the teacher. Leave only settings in "
                f"transformer_config that keep the shapes of weights, such as {SIZE}."
            )
