"""spaCy's `tagger`, `senter` and `morphologizer`: a softmax over the labels of each token."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.parts_of_speech import NAMES
from spacy.pipeline import Morphologizer, SentenceRecognizer, Tagger
from spacy.tokens import Doc
from thinc.api import Model

from ...structures import Token
from ...structures.base import Floats2d, Ints1d, array_module, to_host
from .base import CannotTeach, Reader, check_trained


class TagReader(Reader):
    """Reads the softmax of a tagger, with its labels in the order of its columns."""

    def predict(self, docs: Sequence[Doc]) -> list[Floats2d]:
        """Scores of each document's tokens, (n, L)."""
        if not any(map(len, docs)):
            return [self.component.model.ops.alloc2f(0, len(self.component.labels)) for _ in docs]
        return self.component.model.predict(docs)

    def read(self, docs: Sequence[Doc], prediction: list[Floats2d]) -> dict[str, Token]:
        return {self.name: self.distribution(docs, prediction)}

    def distribution(self, docs: Sequence[Doc], scores: list[Floats2d]) -> Token:
        """The softmax over all of the component's labels."""
        labels = tuple(self.component.labels)
        ops = self.component.model.ops
        rows = ops.xp.concatenate([ops.alloc2f(0, len(labels)), *scores])
        potentials = log_potentials(self.component.model, rows)
        return Token(potentials, [len(doc) for doc in docs], labels=labels)

    def annotate(self, docs: Sequence[Doc], prediction: list[Floats2d]) -> None:
        best = [to_host(scores.argmax(axis=1)) for scores in prediction]
        self.component.set_annotations(docs, best)


class MorphologyReader(TagReader):
    """Reads the softmax of a morphologizer, whose labels are analyses, parts of speech with
    features, as two distributions: over features, as `skd_tagger` spells them, and over parts of
    speech. Each is a sum over the analyses that have it; analyses without a part of speech say
    nothing of it. On request, for they take much more room, the analyses themselves as
    `NAME_analyses`.

    names: by the name of the target, which part of speech or which features (L,) each analysis has,
        "" for none.
    """

    def __init__(self, name: str, component: Any, names: dict[str, list[str]]) -> None:
        self._labels = {
            target: tuple(dict.fromkeys(filter(None, of_columns)))
            for target, of_columns in names.items()
        }
        self._members = {
            target: [np.flatnonzero([label == name for name in of_columns]) for label in labels]
            for (target, labels), of_columns in zip(self._labels.items(), names.values())
        }
        summary = f"softmax over {len(component.labels)} analyses, summed to " + " and ".join(
            f"{len(labels)} labels of '{target}'" for target, labels in self._labels.items()
        )
        on_request = (f"{name}_analyses",) if len(names) > 1 else ()
        super().__init__(name, component, summary, (*names, *on_request), on_request)

    def read(self, docs: Sequence[Doc], prediction: list[Floats2d]) -> dict[str, Token]:
        analyses = self.distribution(docs, prediction)
        found = {}
        for target, members in self._members.items():
            scores = summed(analyses.scores, members)
            found[target] = Token(scores, analyses.lengths, labels=self._labels[target])
        return found | dict.fromkeys(self.on_request, analyses)


def summed(potentials: Floats2d, members: Sequence[Ints1d]) -> Floats2d:
    """Log-potentials (N, K) of labels that each stand for some columns of others, (N, L).

    members: the columns of each label. A token none of whose labels is possible may have any.
    """
    xp = array_module(potentials)
    scores = xp.empty((len(potentials), len(members)), dtype=np.float32)
    for number, columns in enumerate(members):
        of_label = potentials[:, xp.asarray(columns)].astype(np.float64)
        peaks = of_label.max(axis=1)
        shifts = xp.where(xp.isfinite(peaks), peaks, 0)
        with np.errstate(divide="ignore"):
            scores[:, number] = shifts + xp.log(xp.exp(of_label - shifts[:, None]).sum(axis=1))
    scores[xp.isneginf(scores).all(axis=1)] = 0
    return scores


def log_potentials(model: Model, rows: Floats2d) -> Floats2d:
    """What a tagger's model gives (N, L) as log-potentials: of probabilities the logarithms, of
    scores that its softmax has left as they were, those divided by its temperature."""
    xp = array_module(rows)
    layer = model.maybe_get_ref("softmax") or model.maybe_get_ref("output_layer")
    attributes = {} if layer is None else layer.attrs
    normalised = attributes.get("softmax_normalize")
    if normalised is None:
        normalised = bool((rows >= 0).all() and xp.allclose(rows.sum(axis=1), 1, atol=1e-4))
    if not normalised:
        return rows / attributes.get("softmax_temperature", 1.0)
    with np.errstate(divide="ignore"):
        return xp.log(rows)


def tag_reader(nlp: Language, name: str, component: Any) -> Reader | None:
    """spaCy's tagger, sentence recogniser and morphologizer."""
    if not isinstance(component, Tagger):
        return None
    check_trained(component)
    if isinstance(component, Morphologizer):
        return _morphology_reader(name, component)
    n_labels = len(component.labels)
    if isinstance(component, SentenceRecognizer):
        return TagReader(name, component, "softmax over S, tokens that begin a sentence, and I")
    return TagReader(name, component, f"softmax over {n_labels} tags")


def _morphology_reader(name: str, component: Any) -> Reader:
    strings, morphology = component.vocab.strings, component.vocab.morphology
    tags = [NAMES[component.cfg["labels_pos"][label]] for label in component.labels]
    features = [component.cfg["labels_morph"][label] for label in component.labels]
    names = {}
    if any(features):
        names[name] = [strings[morphology.add(feature)] for feature in features]
    if any(tags):
        names[f"{name}_pos" if names else name] = tags
    if not names:
        raise CannotTeach("its labels have neither parts of speech nor features")
    return MorphologyReader(name, component, names)
