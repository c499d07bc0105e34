"""spaCy's `spancat` and `spancat_singlelabel`: the probability of each suggested span."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.pipeline import SpanCategorizer
from spacy.tokens import Doc

from ...structures import LocalSpans
from ...structures.base import Floats2d, to_host
from .base import Reader, check_trained

MAX_WIDTH = 16  # tokens of a span, where the suggester does not tell how many there may be
LEAST = 1e-6  # probability that a span has a label, or has none, at least


class SpanReader(Reader):
    """Reads the scores of a span categoriser as independent spans that have one label at most.

    One that knows a label for none gives back its own probabilities. Another one gives each label
    by itself; what is read of it is the distribution given that a span has one of them at most:
    a label's odds against none stay what they are. Spans that are not suggested are impossible.
    """

    def __init__(self, name: str, component: Any) -> None:
        sizes = getattr(component.suggester, "keywords", {}).get("sizes")
        self.max_width = max(sizes) if sizes else MAX_WIDTH
        summary = f"the probabilities of suggested spans of up to {self.max_width} tokens"
        super().__init__(name, component, summary)

    def predict(self, docs: Sequence[Doc]) -> Any:
        return self.component.predict(docs) if any(map(len, docs)) else None

    def read(self, docs: Sequence[Doc], prediction: Any) -> dict[str, LocalSpans]:
        labels = tuple(self.component.labels)
        lengths = np.asarray([len(doc) for doc in docs], dtype=np.int64)
        scores = np.full((int(lengths.sum()), self.max_width, len(labels)), -np.inf, np.float32)
        if prediction is not None and len(prediction[1]):
            spans, probs = prediction
            tokens, ends = to_host(spans.dataXd).T
            tokens = tokens + np.repeat(np.cumsum(lengths) - lengths, to_host(spans.lengths))
            widths = ends - to_host(spans.dataXd)[:, 0] - 1
            fits = widths < self.max_width
            scores[tokens[fits], widths[fits]] = self._potentials(to_host(probs))[fits]
        return {self.name: LocalSpans(scores, lengths, labels)}

    def annotate(self, docs: Sequence[Doc], prediction: Any) -> None:
        if prediction is not None:
            self.component.set_annotations(docs, prediction)

    def _potentials(self, probs: Floats2d) -> Floats2d:
        """The logarithms of the odds of labels against none, (K, R)."""
        probs = probs.astype(np.float64)
        wrong = np.isnan(probs)
        if self.component.add_negative_label:
            odds = probs[:, :-1].clip(LEAST, 1) / probs[:, -1:].clip(LEAST, 1)
        else:
            probs = probs.clip(LEAST, 1 - LEAST)
            odds = probs / (1 - probs)
        odds[wrong.any(axis=1)] = np.nan
        return np.log(odds)


def span_reader(nlp: Language, name: str, component: Any) -> Reader | None:
    """spaCy's span categoriser, of either factory."""
    if not isinstance(component, SpanCategorizer):
        return None
    check_trained(component)
    return SpanReader(name, component)
