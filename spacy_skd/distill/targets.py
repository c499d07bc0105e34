"""What a teacher leaves behind for a sentence: its potentials, small enough to store.

A teacher component has one `Teacher` record (its labels, its transition table) and one `Target` a
document (emissions in float16). Together they give the teacher's distribution back, at any
temperature, without asking the teacher again.

Of spans, of which a sentence has many and nearly all are out of the question, only those are kept
that matter: what is dropped has, all together, a probability of at most `MAX_LOSS` in a sentence.
The distribution that comes back is the teacher's given that no dropped span is there. At a higher
temperature it is that distribution which is tempered. Of heads and trees, the likeliest arcs are
kept (`arc_records`), and come back as independent heads with the same probabilities. Of lists of
candidates, all are (`candidate_records`).
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..structures import (
    Candidates,
    FlatSpans,
    LabelTrees,
    LinearChain,
    LocalSpans,
    Sentences,
    SpanningTree,
    Structure,
    Token,
)
from ..structures.base import Floats1d, Ints1d, array_module, to_host
from ..structures.packing import Packing
from .arc_records import ARC, read_arcs, slice_arcs, stored_arcs
from .arcs import TreeMarginals, as_heads
from .candidate_records import (
    CANDIDATE,
    read_candidates,
    sets_of,
    slice_candidates,
    stored_candidates,
)
from .parts import ARCS, SPANS, AnyTeacher, scores_of

LOWEST = -60_000.0  # the smallest potential that float16 keeps finite, with some room
MAX_LOSS = 1e-3  # probability that a sentence has one of the spans that are not kept, at most
SPAN = np.dtype([("token", "<u4"), ("width", "<u2"), ("label", "<u2"), ("score", "<f4")])
"""A span that is kept: its first token in the document, tokens after it, column, score."""
TREES = (None, "trees", "projective trees")
"""What the heads of a teacher of arcs may be: independent, or those of trees with one root."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """One component of a teacher pipeline, as far as its targets are concerned.

    component: name of the component whose distributions were stored.
    kind: kind of structure, "token", "chain", "spans" (that do not overlap), "local spans",
        "candidates" (weighted sets of spans) or "arcs"; or "annotation", which is no model's but
        gold annotation of some labels.
    labels: label names in the order of the columns; of arcs, relations.
    tables: arrays that all documents share; of a chain "transitions" (L, L), "start", "end" (L,),
        of spans "max_width" (1,), the number of widths W; of arcs "trees" (1,), what the heads are
        known to be, an index into `TREES`.
    means: what each label is to a student, where that is more than another name (`relabel`): labels
        of the student's, several perhaps the same, or "" (of BILUO labels "O") for none of them.
    mapped: labels of the student's that it has only as other names or meanings of its own.
    """

    component: str
    kind: str
    labels: tuple[str, ...]
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    means: tuple[str, ...] | None = None
    mapped: frozenset[str] = frozenset()

    @property
    def record(self) -> np.dtype | None:
        """The type of what is kept of a document, if it is not a row a token."""
        if self.has_arcs:
            return ARC
        if self.kind == "candidates":
            return CANDIDATE
        return SPAN if self.kind in ("spans", "local spans") else None

    @property
    def meant(self) -> tuple[str, ...]:
        """What the labels are to a student, without those that are nothing to it."""
        return tuple(dict.fromkeys(label for label in self.means or self.labels if label))

    @property
    def is_annotation(self) -> bool:
        """Whether its targets are gold annotation."""
        return self.kind == "annotation"

    @property
    def has_arcs(self) -> bool:
        """Whether its targets are arcs that are kept."""
        return self.kind == "arcs"


@dataclass(frozen=True, eq=False)
class Target:
    """The teacher's scores for one document.

    scores: (n, L) float16, each row relative to its maximum; of spans and arcs, those that are kept
        (K,), `SPAN` or `ARC`, in the order of their tokens; of candidates the spans of each,
        `CANDIDATE`. Of annotation, the column of each token (n,), −1 where nothing is known.
    n_tokens: length of the document, if not that of `scores`.
    kept: what was computed from them and will be wanted again, by what it is.
    weight: how much it counts against other targets of the same sentence, above 0.
    """

    teacher: Teacher
    scores: np.ndarray
    n_tokens: int | None = None
    kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.scores) if self.n_tokens is None else self.n_tokens

    def slice(self, start: int, end: int) -> "Target":
        """The target of tokens start..end-1; spans that cross its ends are dropped, and the arcs of
        sentences that do. Candidates that become equal are one."""
        if self.teacher.record is None:
            return self.with_scores(self.scores[start:end], end - start)
        if self.teacher.has_arcs:
            return self.with_scores(slice_arcs(self.scores, start, end), end - start)
        if self.teacher.kind == "candidates":
            return self.with_scores(slice_candidates(self.scores, start, end), end - start)
        first = self.scores["token"].astype("int64")
        inside = (first >= start) & (first + self.scores["width"] < end)
        scores = self.scores[inside].copy()
        scores["token"] -= start
        return self.with_scores(scores, end - start)

    def with_scores(self, scores: np.ndarray, n_tokens: int) -> "Target":
        """A target of the same teacher and weight for other tokens."""
        return replace(self, scores=scores, n_tokens=n_tokens, kept={})


@dataclass
class Dropped:
    """The probability of what was not kept, over all tokens that were read."""

    n_tokens: int = 0
    total: float = 0.0
    maximum: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / max(1, self.n_tokens)

    def add(self, probabilities: np.ndarray) -> None:
        self.n_tokens += len(probabilities)
        self.total += float(probabilities.sum())
        self.maximum = max(self.maximum, float(probabilities.max(initial=0.0)))


def describe(structure: Structure | Sentences, component: str) -> Teacher:
    """The record of a teacher component, read from one batch of its distributions."""
    if isinstance(structure, Sentences):
        return describe(structure.structure, component)
    if isinstance(structure, LabelTrees):
        return Teacher(component, "arcs", structure.relation_labels, _tables_of_arcs(structure))
    labels = structure.labels
    if labels is None:
        raise ValueError(f"The teacher component '{component}' gives distributions without labels.")
    if isinstance(structure, LinearChain):
        tables = {
            name: to_host(getattr(structure, name)).astype("float32")
            for name in ("transitions", "start", "end")
        }
        return Teacher(component, "chain", tuple(labels), tables)
    if isinstance(structure, Token):
        return Teacher(component, "token", tuple(labels))
    if isinstance(structure, SPANS):
        tables = {"max_width": np.asarray([structure.max_width], dtype="<i8")}
        kind = "spans" if isinstance(structure, FlatSpans) else "local spans"
        return Teacher(component, kind, tuple(labels), tables)
    if isinstance(structure, ARCS):
        return Teacher(component, "arcs", tuple(labels), _tables_of_arcs(structure))
    if isinstance(structure, Candidates):
        return Teacher(component, "candidates", tuple(labels))
    raise ValueError(
        f"The teacher component '{component}' gives {type(structure).__name__} distributions, "
        "which cannot be stored; those of tokens, chains, spans, arcs and candidates can."
    )


def _tables_of_arcs(structure: Any) -> dict[str, np.ndarray]:
    trees = None
    if isinstance(structure, (SpanningTree, TreeMarginals)):
        trees = "projective trees" if structure.projective else "trees"
    return {"trees": np.asarray([TREES.index(trees)], dtype="<i8")}


def stored_scores(structure: AnyTeacher | Sentences) -> list[np.ndarray]:
    """Each document's scores as they are stored, in the form of `Target.scores`."""
    return kept_scores(structure)[0]


def kept_scores(
    structure: AnyTeacher | Sentences,
) -> tuple[list[np.ndarray], Floats1d | None]:
    """The same and, of arcs, the probability (N,) of what is not kept of each token."""
    if isinstance(structure, Sentences):
        n_sentences: Ints1d = to_host(structure.n_sentences)
        structure = structure.structure
    else:
        n_sentences = np.ones(len(structure.lengths), dtype=np.int64)
    if isinstance(structure, LabelTrees):
        structure = as_heads(structure)
    if isinstance(structure, ARCS):
        return stored_arcs(structure, n_sentences)
    if isinstance(structure, Candidates):
        return stored_candidates(structure), None
    return _scores_by_sentence(structure), None


def document_lengths(structure: AnyTeacher | Sentences) -> Ints1d:
    """How many tokens each document has, (D,)."""
    if not isinstance(structure, Sentences):
        return to_host(structure.lengths)
    ends = np.concatenate([[0], np.cumsum(to_host(structure.structure.lengths))])
    return np.diff(ends[np.concatenate([[0], np.cumsum(to_host(structure.n_sentences))])])


def _scores_by_sentence(structure: Any) -> list[np.ndarray]:
    if isinstance(structure, SPANS):
        return _kept_spans(structure)
    scores = to_host(scores_of(structure))
    if not scores.size:
        return [scores.astype("float16") for _ in structure.lengths]
    relative = np.maximum(scores - scores.max(axis=1, keepdims=True), LOWEST).astype("float16")
    return np.split(relative, np.cumsum(structure.lengths)[:-1])


def _kept_spans(structure: FlatSpans | LocalSpans) -> list[np.ndarray]:
    """The spans of each sentence without the least probable, of `MAX_LOSS` together."""
    scores, marginals = to_host(structure.scores), to_host(structure.marginals())
    tokens, widths, labels = np.nonzero(marginals > 0)
    probs = marginals[tokens, widths, labels].astype("float64")
    offsets = to_host(structure.packing.offsets)
    sentences = to_host(structure.packing.sentences)[tokens]
    order = np.lexsort((probs, sentences))
    # The probability of each span and all less probable ones of its sentence.
    totals = np.cumsum(probs[order])
    firsts = np.searchsorted(sentences[order], np.arange(len(structure.lengths)))
    before = np.concatenate([[0.0], totals])[firsts]
    chosen = np.sort(order[totals - before[sentences[order]] > MAX_LOSS])
    spans = np.empty(len(chosen), dtype=SPAN)
    spans["token"] = tokens[chosen] - offsets[sentences[chosen]]
    spans["width"], spans["label"] = widths[chosen], labels[chosen]
    spans["score"] = scores[tokens[chosen], widths[chosen], labels[chosen]]
    return np.split(spans, np.searchsorted(sentences[chosen], np.arange(1, len(offsets) - 1)))


def collate(
    targets: Sequence[Target], like: np.ndarray, packing: Packing | None = None
) -> AnyTeacher:
    """The distributions of several targets of one teacher.

    like: an array of the wanted kind (numpy or cupy) and dtype.
    packing: layout of another structure over the same sentences, to share it.
    """
    teacher = targets[0].teacher
    xp = array_module(like)
    lengths = np.asarray([len(target) for target in targets], dtype="int32")
    if teacher.has_arcs:
        arcs = [target.scores for target in targets]
        trees = TREES[int(teacher.tables["trees"][0])]
        return read_arcs(arcs, lengths, teacher.labels, like, trees)
    if teacher.kind == "candidates":
        return read_candidates([_sets_of(target) for target in targets], lengths, teacher.labels)
    if teacher.record is not None:
        scores = xp.asarray(_dense_spans(targets, lengths, like.dtype))
        kind = FlatSpans if teacher.kind == "spans" else LocalSpans
        return kind(scores, lengths, labels=teacher.labels, packing=packing)
    scores = xp.asarray(np.concatenate([target.scores for target in targets]), dtype=like.dtype)
    if teacher.kind == "token":
        return Token(scores, lengths, labels=teacher.labels, packing=packing)
    tables = {name: xp.asarray(table, dtype=like.dtype) for name, table in teacher.tables.items()}
    return LinearChain(scores, **tables, lengths=lengths, labels=teacher.labels, packing=packing)


def _sets_of(target: Target) -> Any:
    """The candidates of a target and their log-weights, made once."""
    if "candidates" not in target.kept:
        target.kept["candidates"] = sets_of(target.scores)
    return target.kept["candidates"]


def _dense_spans(targets: Sequence[Target], lengths: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Scores (N, W, R), -inf for what was not kept."""
    teacher = targets[0].teacher
    shape = (int(lengths.sum()), int(teacher.tables["max_width"][0]), len(teacher.labels))
    scores = np.full(shape, -np.inf, dtype=dtype)
    spans = np.concatenate([target.scores for target in targets])
    starts = np.cumsum(lengths) - lengths
    shifts = np.repeat(starts, [len(target.scores) for target in targets])
    scores[spans["token"] + shifts, spans["width"], spans["label"]] = spans["score"]
    return scores
