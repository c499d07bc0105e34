"""Loading what a component has learnt into the model that the config describes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spacy.pipeline import TrainablePipe

from ..layers.settings import settings_of_config


class ConfiguredPipe(TrainablePipe):
    """A component whose model keeps its settings, those of the config, when weights are loaded.

    So `spacy.load(path, config=...)` can change what needs no other weights. Loading raises
    ValueError, naming the component, for settings that the weights are not made for.
    """

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        with self._loading():
            return super().from_bytes(bytes_data, exclude=tuple(exclude))

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Any:
        with self._loading():
            return super().from_disk(path, exclude=tuple(exclude))

    @contextmanager
    def _loading(self) -> Iterator[None]:
        try:
            with settings_of_config(self.model):
                yield
        except ValueError as error:
            raise ValueError(
                f"The component '{self.name}' cannot be loaded: {error}. If settings of its model "
                "were changed after training, take them back, or train a model with them."
            ) from error
