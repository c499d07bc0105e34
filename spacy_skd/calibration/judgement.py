"""What components predict for gold documents, whether it is right, and how sure of it they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from spacy.attrs import ORTH
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch
from tqdm import tqdm

from ..distill.copies import plain_copy
from ..pipeline.documents import name_of
from ..pipeline.ner import EntityRecognizer


class Confident(Protocol):
    """A component that says how sure it is of what it predicts.

    temperature: what its scores are divided by before they are turned into confidences.
    """

    temperature: float

    def predict(self, docs: Sequence[Doc]) -> Any:
        """What the component says of documents, without changing them."""

    def set_annotations(self, docs: Sequence[Doc], structure: Any) -> None:
        """Set it on the documents."""

    def units(self, doc: Doc) -> list[tuple]:
        """What a document says, each unit beginning with the number of a token."""

    def known(self, doc: Doc) -> np.ndarray:
        """Of which tokens a gold document says something (n,) bool."""

    def confidences(
        self, docs: Sequence[Doc], structure: Any, temperature: float | None = None
    ) -> Sequence[Sequence[float | None]]:
        """The probabilities of the units of each document that has been annotated; None of a unit
        that the component did not predict."""


def is_confident(component: Any) -> bool:
    """Whether a component of a pipeline is `Confident`."""
    methods = ("predict", "set_annotations", "units", "known", "confidences")
    return hasattr(component, "temperature") and all(
        callable(getattr(component, method, None)) for method in methods
    )


@dataclass(frozen=True, eq=False)
class Judged:
    """The predictions of a component for which the gold documents say whether they are right.

    name: of the component in the pipeline.
    batches: documents that the component has annotated, and the structure that it predicted.
    kept: (units,) bool, those of all the documents' units that are judged.
    right: (n,) bool, whether each of these is right.
    n_known: tokens of which the gold documents say something.
    """

    name: str
    component: Confident
    batches: list[tuple[list[Doc], Any]]
    kept: np.ndarray
    right: np.ndarray
    n_known: int

    def probabilities(self, temperature: float) -> np.ndarray:
        """How sure the component is of each judged prediction (n,), at a temperature."""
        return _confidences(self.component, self.batches, temperature)[self.kept]


def judge(
    nlp: Language, gold: Sequence[Doc], names: Sequence[str], *, title: str = "documents"
) -> Iterator[Judged]:
    """What each of the named components of a pipeline predicts for the words of gold documents.

    In the order of the pipeline, one component after the other for all documents: each sees them as
    those before it leave them, and the ones after it run only when the next is asked for. All of
    the documents and one component's structures are in memory at a time.

    gold: documents of the pipeline's vocabulary.
    title: of the progress bar.

    Raises ValueError, naming component and document, if a component changes the tokens.
    """
    docs = [plain_copy(doc, nlp.vocab) for doc in gold]
    last = max(nlp.pipe_names.index(name) for name in names)
    running = nlp.pipe_names[: last + 1]
    with tqdm(total=len(running) * len(docs), desc=title, disable=None, leave=False) as progress:
        for name in running:
            if name in names:
                component: Any = nlp.get_pipe(name)
                _check_tokens(name, docs, gold)
                batches = []
                for batch in minibatch(docs, size=nlp.batch_size):
                    structure = component.predict(batch)
                    component.set_annotations(batch, structure)
                    batches.append((batch, structure))
                    progress.update(len(batch))
                yield _judged(name, component, batches, gold)
            else:
                others = [other for other in nlp.pipe_names if other != name]
                done = []
                for doc in nlp.pipe(docs, disable=others):
                    done.append(doc)
                    progress.update()
                docs = done


def _judged(
    name: str,
    component: Confident,
    batches: list[tuple[list[Doc], Any]],
    gold: Sequence[Doc],
) -> Judged:
    judged: list[bool] = []
    right: list[bool] = []
    n_known = 0
    for doc, truth in zip(chain.from_iterable(batch for batch, _ in batches), gold):
        known = component.known(truth)
        n_known += int(np.count_nonzero(known))
        true_units = set(component.units(truth))
        for unit in component.units(doc):
            judged.append(_is_known(component, unit, known))
            right.append(unit in true_units)
    kept = np.asarray(judged, dtype=bool)
    own = ~np.isnan(_confidences(component, batches, component.temperature))
    if own.shape != kept.shape:
        raise ValueError(
            f"The component '{name}' predicts {len(kept):,} units and gives "
            f"{len(own):,} confidences: one of its methods units and confidences is wrong."
        )
    kept &= own
    return Judged(name, component, batches, kept, np.asarray(right, dtype=bool)[kept], n_known)


def _is_known(component: Confident, unit: tuple, known: np.ndarray) -> bool:
    """Whether gold says something of all tokens of an entity, or of the token of another unit."""
    if isinstance(component, EntityRecognizer):
        return bool(known[unit[0] : unit[1]].all())
    return bool(known[unit[0]])


def _confidences(
    component: Confident, batches: list[tuple[list[Doc], Any]], temperature: float
) -> np.ndarray:
    """Of all units (units,); NaN of those that the component did not predict."""
    values = [
        of_doc
        for docs, structure in batches
        for of_doc in component.confidences(docs, structure, temperature=temperature)
    ]
    return np.asarray(list(chain.from_iterable(values)), dtype=np.float64)


def _check_tokens(name: str, docs: Sequence[Doc], gold: Sequence[Doc]) -> None:
    for doc, truth in zip(docs, gold):
        same = len(doc) == len(truth) and (doc.to_array(ORTH) == truth.to_array(ORTH)).all()
        if not same:
            raise ValueError(
                f"A component before '{name}' changes the tokens of {name_of(truth)}: it "
                f"had {len(truth)}, now {len(doc)}. What is predicted for these cannot be compared "
                "with the gold annotation. Disable that component, or annotate its tokens."
            )
