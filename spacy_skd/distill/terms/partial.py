"""A teacher that does not know all of the student's labels, or means others (docs/math.md §3.4).

What it says is annotation in part: the student learns to give it probability, whatever it thinks of
the rest. Of a student whose tokens or spans choose by themselves, this takes no more than the
teacher's marginals; of chains and of spans that do not overlap, its k best outputs.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ...structures import (
    Candidates,
    ChainMarginals,
    FlatSpans,
    LinearChain,
    LocalSpans,
    SentenceError,
    Token,
    entity_labels,
)
from ...structures.base import Floats1d, Floats2d, Ints1d, array_module, expectation, to_host
from ...structures.local_spans import spans_inside
from .. import spans
from ..annotation import MISSING, mark_unknown, spans_within, without_wide
from ..attached import group_by_teacher
from ..loss import cross_entropy_to
from ..meaning import Meaning, has_entities, meaning_of
from ..parts import Distribution, Parts, accumulate, expected_parts, per_token, scores_of
from ..projection import condition, project
from ..targets import Target, collate
from .base import Lesson
from .best_outputs import best_outputs

K = 5


class Partial:
    """log Z_s − Σ_k w_k log Z_s(C_k), where C_k are the structures that agree with an output of the
    teacher's, weighted by its probability.

    At tokens of an entity of the teacher's the student's label is that; elsewhere it may have none,
    or any label that the teacher does not know. Tags are what the teacher says. Gold annotation of
    some labels is one output.

    k: how many of the teacher's best outputs are learnt from, for students of chains and of spans
        that do not overlap. All others learn from its marginals, as if from all outputs.
    """

    def __init__(self, k: int = K) -> None:
        self.k = k

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        wanted: Any = None
        score = 0.0
        for numbers, members in group_by_teacher(targets):
            everything = len(members) == len(student.lengths)
            part = student if everything else student.select(numbers)
            claims = _Claims(part, members, meaning_of(members[0].teacher, part))
            shares = weights[array_module(weights).asarray(numbers)]
            if isinstance(part, Token):
                parts, log_weight = _of_tokens(claims, shares)
            elif isinstance(part, LocalSpans):
                parts, log_weight = _of_single_spans(claims, shares)
            else:
                parts, log_weight = self._of_outputs(claims, shares, numbers)
            lesson = Lesson(student, part, part, members, numbers)
            wanted = accumulate(wanted, lesson.spread(parts))
            score += log_weight
        return cross_entropy_to(wanted, student, weights, score)

    def _of_outputs(
        self, claims: "_Claims", weights: Floats1d, numbers: Ints1d
    ) -> tuple[Parts, float]:
        """Wanted parts and Σ w log Z(C) of a student whose parts depend on each other."""
        student: Any = claims.student
        xp = array_module(weights)
        outputs = claims.best_outputs(self.k)
        given = _given(student, outputs, claims.meaning)
        shares = xp.asarray(outputs.weights, dtype=weights.dtype)
        shares = shares * weights[xp.asarray(outputs.sentences)]
        try:
            log_weight = float((given.log_partition() * shares).sum())
        except SentenceError as error:
            raise SentenceError(
                "has no structure that agrees with what the teacher says of it",
                int(numbers[outputs.sentences[error.sentence]]),
            ) from error
        return _folded(expected_parts(given, shares), student, outputs), log_weight


class _Outputs(NamedTuple):
    """Outputs of a teacher's: first one of each sentence, then a second one where there is one, and
    so on.

    sentences: (K,) which they are of. weights: (K,) of each sentence with the sum 1.
    columns: (M,) the student's columns that are claimed for their tokens, MISSING where none is.
    ranks: where the first, second … ones begin, and the end.
    """

    sentences: Ints1d
    weights: Floats1d
    columns: Ints1d
    ranks: list[int]


class _Claims:
    """What one teacher says of some sentences.

    student: the student's distributions over them. targets: a target each.
    """

    def __init__(self, student: Distribution, targets: list[Target], meaning: Meaning) -> None:
        self.student = student
        self.targets = targets
        self.meaning = meaning
        self.is_annotation = targets[0].teacher.is_annotation

    def annotation(self) -> Ints1d:
        """Of gold annotation, the student's column of each token (N,), MISSING where not known."""
        columns = np.concatenate([target.scores for target in self.targets]).astype(np.int64)
        return np.append(self.meaning.columns, MISSING)[columns]

    def marginals(self, onto: Token | LocalSpans) -> Any:
        """The teacher's marginals over parts with its own labels."""
        return project(condition(self._teacher(), onto), onto)

    def best_outputs(self, k: int) -> _Outputs:
        """The teacher's k best outputs."""
        lengths = to_host(self.student.lengths)
        if self.is_annotation:
            everything = np.arange(len(lengths))
            ones = np.ones(len(lengths))
            return _Outputs(everything, ones, self.annotation(), [0, len(lengths)])
        candidates = self._candidates(k)
        lookup, shares = self.meaning.columns, candidates.marginals()
        sentences, weights, ranks = [], [], [0]
        columns: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
        for rank in range(int(candidates.counts.max(initial=0))):
            chosen = np.flatnonzero(candidates.counts > rank)
            sentences.append(chosen)
            weights.append([shares[number][rank] for number in chosen])
            columns += [np.asarray(candidates.outputs[number][rank]) for number in chosen]
            ranks.append(ranks[-1] + len(chosen))
        flat = np.concatenate(columns).astype(np.int64)
        return _Outputs(np.concatenate(sentences), np.concatenate(weights), lookup[flat], ranks)

    def _candidates(self, k: int) -> Candidates:
        """The same as label sequences with the teacher's labels."""
        teacher: Any = self._teacher()
        if isinstance(teacher, Token) and has_entities(self.student):
            teacher = spans.legal_chain(teacher)
        elif isinstance(teacher, LocalSpans):
            teacher = spans.as_flat(teacher)
        numbers = np.arange(len(self.targets))
        lesson = Lesson(self.student, self.student, teacher, self.targets, numbers)
        best = best_outputs(lesson, k, temperature=1.0, uniform=False)
        return spans.as_sequences(best) if best.are_sets() else best

    def _teacher(self) -> Any:
        return collate(self.targets, scores_of(self.student), self.student.packing)


# --- students whose tokens or spans choose by themselves: rows of scores (M, C), and how much is
# claimed of each choice, or of none, (M, C + 1)


def _of_tokens(claims: _Claims, weights: Floats1d) -> tuple[Floats2d, float]:
    student: Any = claims.student
    xp, n_labels = array_module(student.scores), student.n_labels
    names, columns, allowed = claims.meaning
    if claims.is_annotation:
        claimed = _one_hot(claims.annotation(), n_labels, student.scores)
    else:
        nothing = xp.zeros((len(student.scores), len(names)), dtype=student.scores.dtype)
        alike = Token(nothing, student.lengths, names, packing=student.packing)
        claimed = claims.marginals(alike) @ _one_hot(columns, n_labels, student.scores)
    claimed *= per_token(weights, student)
    return _given_claims(student.scores, claimed, allowed)


def _of_single_spans(claims: _Claims, weights: Floats1d) -> tuple[Any, float]:
    """Spans may have no label, choice 0, whose score is 0."""
    student: Any = claims.student
    xp, (n_tokens, max_width, n_labels) = array_module(student.scores), student.scores.shape
    names, columns, allowed = claims.meaning
    if claims.is_annotation:
        numbers = _spans_of_columns(claims.annotation(), max_width)
        claimed = _one_hot(numbers.ravel(), 1 + n_labels, student.scores)
    else:
        entities = entity_labels(names)
        shape = (n_tokens, max_width, len(entities))
        nothing = xp.zeros(shape, dtype=student.scores.dtype)
        alike = LocalSpans(nothing, student.lengths, entities, packing=student.packing)
        found = claims.marginals(alike).reshape(-1, len(entities))
        begins = columns[[names.index(f"B-{label}") for label in entities]]
        claimed = found @ _one_hot(_choices(begins), 1 + n_labels, student.scores)
        claimed[:, 0] += (1 - found.sum(axis=1)).clip(0, None)
    inside = xp.asarray(spans_inside(student.lengths, max_width))
    claimed *= (per_token(weights, student)[:, :, 0] * inside).reshape(-1, 1)
    scores = xp.pad(student.scores, ((0, 0), (0, 0), (1, 0))).reshape(-1, 1 + n_labels)
    choices = np.concatenate([[0], 1 + 4 * np.arange(n_labels)])  # of BILUO columns O and B
    of_choices = allowed[np.ix_(np.append(choices, MISSING), choices)]
    wanted, log_weight = _given_claims(scores, claimed, of_choices)
    return wanted[:, 1:].reshape(student.scores.shape), log_weight


def _given_claims(
    scores: Floats2d, claimed: Floats2d, allowed: np.ndarray
) -> tuple[Floats2d, float]:
    """The choices that are wanted, (M, C), and Σ claimed log Z(choices that agree)."""
    xp = array_module(scores)
    is_set = allowed.sum(axis=1) > 1
    wanted = xp.where(xp.asarray(is_set[:-1]), 0, claimed[:, :-1])
    total = float(expectation(wanted, scores).sum())
    for claim in np.flatnonzero(is_set):
        shares = claimed[:, claim]
        rows = xp.flatnonzero(shares)
        if len(rows):
            choices = xp.asarray(np.flatnonzero(allowed[claim]))
            within = Token(scores[rows][:, choices], xp.ones(len(rows), dtype=np.int64))
            wanted[rows[:, None], choices] += within.marginals() * shares[rows, None]
            total += float((within.log_partition() * shares[rows]).sum())
    return wanted, total


def _one_hot(columns: Ints1d, n_columns: int, like: Any) -> Any:
    """Columns (M,), MISSING the last, as (M, n_columns + 1) of the kind and type of an array."""
    identity = np.eye(n_columns + 1, dtype=like.dtype)
    return array_module(like).asarray(identity[columns])


def _choices(columns: Ints1d) -> Ints1d:
    """Columns of B-labels or U-labels, or of O, as numbers of labels from 1, or 0."""
    return (columns + 3) // 4


def _spans_of_columns(columns: Ints1d, max_width: int) -> np.ndarray:
    """BILUO columns (N,) as a number a span (N, W): that of its label from 1, 0, or MISSING."""
    unknown = columns == MISSING
    known = without_wide(np.where(unknown, 0, columns), max_width)
    numbers = np.zeros((len(columns), max_width), dtype=np.int64)
    position = np.where(known > 0, (known - 1) % 4, MISSING)
    firsts = np.flatnonzero((position == 0) | (position == 3))
    lasts = np.flatnonzero(position >= 2)
    numbers[firsts, lasts - firsts] = _choices(known[firsts])
    mark_unknown(numbers, unknown | (known == MISSING))
    return numbers


# --- students of chains and of spans that do not overlap


def _given(student: Any, outputs: _Outputs, meaning: Meaning) -> Any:
    """The student given each of the outputs, a sentence of its own each."""
    xp = array_module(scores_of(student))
    pupil = student.select(outputs.sentences)
    if isinstance(student, LinearChain):
        return pupil.restrict(xp.asarray(meaning.allowed[outputs.columns]))
    columns = without_wide(outputs.columns.copy(), student.max_width)
    allowed = meaning.allowed[columns]
    agree = spans_within(allowed, student.max_width)
    return pupil.restrict(xp.asarray(agree), xp.asarray(allowed[:, 0]))


def _folded(parts: Parts, student: FlatSpans | LinearChain, outputs: _Outputs) -> Parts:
    """Parts of the outputs' sentences summed as parts of the student's."""
    if isinstance(parts, ChainMarginals):
        return replace(parts, tokens=_fold_rows(parts.tokens, student, outputs))
    return _fold_rows(parts, student, outputs)


def _fold_rows(rows: Any, student: Any, outputs: _Outputs) -> Any:
    whole = array_module(rows).zeros((student.packing.n_tokens, *rows.shape[1:]), rows.dtype)
    start = 0
    for low, high in pairwise(outputs.ranks):
        tokens = student.packing.select(outputs.sentences[low:high])[0]
        whole[tokens] += rows[start : start + len(tokens)]
        start += len(tokens)
    return whole
