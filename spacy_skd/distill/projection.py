"""Marginals of a teacher over the parts of a student (docs/math.md §4).

The cross-entropy between two distributions over structures needs nothing of the teacher but its
marginals over the student's parts. One small function a pair of kinds, in one table.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, overload

import numpy as np

from ..structures import (
    Candidates,
    ChainMarginals,
    FlatSpans,
    LinearChain,
    LocalSpans,
    Token,
    biluo_labels,
    entity_labels,
)
from ..structures.base import Floats1d, Floats2d, Ints1d, array_module, expectation, to_host
from . import spans
from .parts import (
    SPANS,
    Distribution,
    Parts,
    combine,
    expected_parts,
    inner,
    per_token,
    scores_of,
)

AnyTeacher: TypeAlias = Distribution | Candidates
"""What can teach."""


def project(
    teacher: AnyTeacher, onto: type[Distribution] | Distribution, weights: Any | None = None
) -> Parts:
    """The teacher's marginals over the parts of another kind of structure.

    teacher: distributions of a batch of B sentences.
    onto: the student's kind of structure, or a student's batch of the same sentences. With a batch,
        labels are matched by name; labels that are not the same set raise ValueError.
    weights: weight of each sentence (B,); by default 1.

    Returns an array (N, L) for a token student, `ChainMarginals` for a chain, (N, W, R) for spans.
    Unlike the marginals of a chain, whose tokens stay probabilities, everything here is weighted.
    Counts of candidates are where the student's batch is and in its dtype; without a batch, float64
    on the host. Between spans and sequences, without a batch: columns in the order of
    `biluo_labels`, and no other kind onto spans, whose width the batch tells.

    Raises NotImplementedError where the teacher's kind says nothing about the student's parts.
    """
    kind = onto if isinstance(onto, type) else type(onto)
    if not isinstance(onto, type):
        teacher = match_labels(teacher, onto)
    if weights is None:
        scores = teacher.log_weights if isinstance(teacher, Candidates) else scores_of(teacher)
        weights = array_module(scores).ones(len(teacher.lengths), dtype=scores.dtype)
    if isinstance(teacher, Candidates):
        weights = to_host(weights)
    if isinstance(onto, SPANS) and (type(teacher), kind) in ONTO_SPANS:
        parts = ONTO_SPANS[type(teacher), kind](teacher, onto) * weights[
            teacher.packing.sentences
        ].reshape(-1, 1, 1)
    elif (type(teacher), kind) in PROJECTIONS:
        parts = PROJECTIONS[type(teacher), kind](teacher, weights)
        if isinstance(teacher, SPANS) and not isinstance(onto, (type, *SPANS)):
            parts = _in_order_of(onto, parts)
    else:
        raise NotImplementedError(
            f"A {type(teacher).__name__} teacher has no marginals over the parts of a "
            f"{kind.__name__} student."
        )
    if isinstance(teacher, Candidates) and not isinstance(onto, type):
        like = scores_of(onto)
        xp = array_module(like)
        parts = combine(lambda counts: xp.asarray(counts, dtype=like.dtype), parts)
    return parts


def cross_entropy(teacher: AnyTeacher, student: Distribution) -> Any:
    """−Σ_y p_t(y) log p_s(y) of each sentence, exactly (docs/math.md §1): (B,) in nats.

    Computed in the dtype of the scores. Infinite where the teacher gives probability to a structure
    that is impossible for the student, except for spans wider than a student's of spans, which are
    left out. Labels are matched by name (ValueError if they differ).
    """
    teacher = match_labels(teacher, student)
    expected_score: Any
    try:
        if isinstance(student, SPANS):
            expected_score = _score_onto_spans
        else:
            expected_score = EXPECTED_SCORES[type(teacher), type(student)]
    except KeyError:
        raise NotImplementedError(
            f"There is no cross-entropy of a {type(teacher).__name__} teacher and a "
            f"{type(student).__name__} student."
        ) from None
    log_partition = student.log_partition()
    return (log_partition - expected_score(teacher, student)).astype(log_partition.dtype)


def condition(teacher: Distribution, student: Distribution) -> Distribution:
    """The teacher given that the structure is one the student can represent at all.

    A token teacher puts mass on label sequences that a chain student with forbidden moves cannot
    have. What is left of it, renormalised, is a chain with those moves forbidden and no other
    potentials. So it is for students of spans, which are well-formed. Everything else is returned
    as it is.
    """
    if isinstance(teacher, Token) and isinstance(student, SPANS):
        return spans.legal_chain(teacher)
    if isinstance(teacher, LocalSpans) and not isinstance(student, LocalSpans):
        return spans.as_flat(teacher)
    if not (isinstance(teacher, Token) and isinstance(student, LinearChain)):
        return teacher
    xp = array_module(student.emissions)
    potentials = (student.transitions, student.start, student.end)
    if all(bool(xp.isfinite(potential).all()) for potential in potentials):
        return teacher
    return LinearChain.from_token(
        teacher, *(xp.where(xp.isneginf(potential), potential, 0) for potential in potentials)
    )


@overload
def match_labels(teacher: Distribution, student: Distribution) -> Distribution: ...
@overload
def match_labels(teacher: Candidates, student: Distribution) -> Candidates: ...
def match_labels(teacher: AnyTeacher, student: Distribution) -> AnyTeacher:
    """The teacher with its columns in the order of the student's labels.

    Between spans and label sequences, whose labels are BILUO labels, entity labels are matched.
    Raises ValueError, naming the labels that only one of them has, if the sets differ.
    """
    wanted = student.labels
    if isinstance(teacher, Candidates):
        teacher = _same_kind_of_outputs(teacher, student)
    elif isinstance(teacher, SPANS) != isinstance(student, SPANS):
        if wanted is None or teacher.labels is None:
            raise ValueError("Between spans and label sequences, both need the names of labels.")
        to_spans = isinstance(student, SPANS)
        wanted = tuple(biluo_labels(wanted) if to_spans else entity_labels(wanted))
    return _reordered(teacher, wanted, student)


def _reordered(
    teacher: AnyTeacher, wanted: Sequence[str] | None, student: Distribution
) -> AnyTeacher:
    """The teacher with the labels that are wanted, in their order."""
    theirs = teacher.labels
    if wanted is None or theirs is None:
        if isinstance(teacher, Candidates):
            return _match_numbers(teacher, student)
        n_theirs, n_ours = (scores_of(structure).shape[-1] for structure in (teacher, student))
        if n_theirs != n_ours:
            raise ValueError(
                f"The teacher has {n_theirs} labels and the student {n_ours}; they have to be the "
                "same. Give both structures their labels to see which differ."
            )
        return teacher
    if tuple(wanted) == tuple(theirs):
        return teacher
    check_same_labels(theirs, wanted)
    column = {label: number for number, label in enumerate(theirs)}
    order = np.asarray([column[label] for label in wanted])
    if isinstance(teacher, Candidates):
        if isinstance(student, SPANS):
            return spans.relabelled(teacher, np.argsort(order), wanted)
        return teacher.relabel(np.argsort(order), wanted)
    if isinstance(teacher, LinearChain):
        return LinearChain(
            teacher.emissions[:, order],
            teacher.transitions[order][:, order],
            teacher.start[order],
            teacher.end[order],
            teacher.lengths,
            labels=wanted,
        )
    if isinstance(teacher, FlatSpans):
        scores = teacher.scores[..., order]
        return FlatSpans(scores, teacher.lengths, labels=wanted, outside=teacher.outside)
    return type(teacher)(teacher.scores[..., order], teacher.lengths, labels=wanted)


def _same_kind_of_outputs(teacher: Candidates, student: Distribution) -> Candidates:
    """Label sequences for a student of label sequences, sets of spans for one of spans."""
    if isinstance(student, SPANS):
        return teacher if teacher.are_sets() else spans.as_spans(teacher)
    return spans.as_sequences(teacher) if teacher.are_sets() else teacher


def _in_order_of(student: Distribution, parts: Parts) -> Parts:
    """Parts over `biluo_labels` with their columns in the order of the student's labels."""
    labels = student.labels or ()
    columns = biluo_labels(entity_labels(labels))
    if tuple(columns) == tuple(labels):
        return parts
    check_same_labels(columns, labels)
    return spans.permuted(parts, np.asarray([columns.index(label) for label in labels]))


def _match_numbers(teacher: Candidates, student: Distribution) -> Candidates:
    """Candidates whose labels, or the student's, have no names: their numbers are the student's."""
    n_ours, n_theirs = scores_of(student).shape[-1], teacher.n_labels
    if n_theirs == n_ours or isinstance(student, SPANS):
        return teacher
    if teacher.labels is not None or n_theirs > n_ours:
        raise ValueError(
            f"The candidates have {n_theirs} labels and the student {n_ours}; they have to be the "
            "same. Give both structures their labels to see which differ."
        )
    return teacher.relabel(np.arange(n_theirs), student.labels, n_ours)


def check_same_labels(teacher_labels: Any, student_labels: Any, component: str = "") -> None:
    """Raise ValueError, naming the labels that only one side has, unless both have the same."""
    only_teacher = sorted(set(teacher_labels) - set(student_labels))
    only_student = sorted(set(student_labels) - set(teacher_labels))
    if not only_teacher and not only_student:
        return
    where = f"in component '{component}' " if component else ""
    raise ValueError(
        f"The labels of teacher and student {where}differ. Only the teacher has: "
        f"{', '.join(only_teacher) or 'none'}. Only the student has: "
        f"{', '.join(only_student) or 'none'}. Train both on the same labels: give the student the "
        "teacher's in [initialize.components], or train the teacher on data that has them all."
    )


# --- marginals, weighted by sentence


def _chain_onto_token(teacher: LinearChain, weights: Any) -> Any:
    """Case 2a."""
    return teacher.marginals().tokens * per_token(weights, teacher)


def _token_onto_chain(teacher: Token, weights: Any) -> ChainMarginals:
    """Case 3: neighbours are independent, so a pair's marginal is the product of its ends'."""
    packing = teacher.packing
    tokens = teacher.marginals()
    weighted = tokens * per_token(weights, teacher)
    after = packing.inner_tokens
    return ChainMarginals(
        tokens=weighted,
        pairs=tokens[after - 1].T @ weighted[after],
        starts=weighted[packing.first_tokens].sum(0),
        ends=weighted[packing.last_tokens].sum(0),
    )


def _candidates_onto_token(teacher: Candidates, weights: Any) -> Floats2d:
    """How often each label occurs at each token, every candidate times its weight."""
    labels, shares, tokens, _ = teacher.tokens
    shares = shares * weights[teacher.packing.sentences[tokens]]
    return _count(tokens, labels, shares, (teacher.packing.n_tokens, teacher.n_labels))


def _candidates_onto_chain(teacher: Candidates, weights: Any) -> ChainMarginals:
    """The same for pairs of neighbours."""
    packing, counts = teacher.packing, _candidates_onto_token(teacher, weights)
    labels, shares, tokens, inner = teacher.tokens
    shares = shares[inner] * weights[packing.sentences[tokens[inner]]]
    return ChainMarginals(
        tokens=counts,
        pairs=_count(labels[inner - 1], labels[inner], shares, (teacher.n_labels,) * 2),
        starts=counts[packing.first_tokens].sum(0),
        ends=counts[packing.last_tokens].sum(0),
    )


def _count(rows: Ints1d, columns: Ints1d, weights: Floats1d, shape: tuple[int, int]) -> Floats2d:
    cells = rows * shape[1] + columns
    counts = np.bincount(cells, weights=weights, minlength=shape[0] * shape[1])
    return counts.astype(np.float64, copy=False).reshape(shape)  # integers, where there are none


PROJECTIONS: dict[tuple[type, type], Callable[[Any, Any], Parts]] = {
    (Token, Token): expected_parts,
    (LinearChain, LinearChain): expected_parts,  # case 1a
    (LinearChain, Token): _chain_onto_token,
    (Token, LinearChain): _token_onto_chain,
    (Candidates, Token): _candidates_onto_token,
    (Candidates, LinearChain): _candidates_onto_chain,
    (FlatSpans, FlatSpans): expected_parts,
    (LocalSpans, LocalSpans): expected_parts,
    (FlatSpans, Token): spans.spans_onto_token,  # case 4
    (FlatSpans, LinearChain): spans.spans_onto_chain,  # case 4
    (LocalSpans, Token): spans.spans_onto_token,
    (LocalSpans, LinearChain): spans.spans_onto_chain,
}
ONTO_SPANS: dict[tuple[type, type], Callable[[Any, Any], Parts]] = {
    (teacher, student): function
    for student in SPANS
    for teacher, function in (
        (Token, spans.sequence_onto_spans),
        (LinearChain, spans.sequence_onto_spans),
        (FlatSpans, spans.spans_onto_spans),
        (LocalSpans, spans.spans_onto_spans),
        (Candidates, spans.candidates_onto_spans),
    )
}
"""Onto spans, whose number of widths is the student's; not weighted."""


# --- the student's expected score under the teacher, by sentence


def _score_onto_token(teacher: Distribution, student: Token) -> Any:
    return student.packing.sum(expectation(_token_marginals(teacher), student.scores))


def _chain_onto_chain_score(teacher: LinearChain, student: LinearChain) -> Any:
    return teacher.expected_score(student)


def _token_onto_chain_score(teacher: Token, student: LinearChain) -> Any:
    tokens = _token_marginals(teacher)
    xp = array_module(tokens)
    after = student.packing.inner_tokens
    before = tokens[after - 1]
    forbidden = xp.isneginf(student.transitions)
    expected = before @ xp.where(forbidden, 0, student.transitions)
    impossible = before @ forbidden.astype(tokens.dtype)
    by_token = xp.zeros(len(tokens), dtype=tokens.dtype)
    by_token[after] = xp.where(
        (impossible * tokens[after]).sum(1) > 0, -xp.inf, (expected * tokens[after]).sum(1)
    )
    return _unary_score(tokens, student) + student.packing.sum(by_token)


def _candidates_onto_token_score(teacher: Candidates, student: Token) -> Any:
    xp = array_module(student.scores)
    tokens = xp.asarray(project(teacher, Token))
    return student.packing.sum(expectation(tokens, student.scores))


def _candidates_onto_chain_score(teacher: Candidates, student: LinearChain) -> Any:
    labels, shares, tokens, inner = teacher.tokens
    shares = shares[inner]
    scores = to_host(student.transitions)[labels[inner - 1], labels[inner]]
    pairs = np.bincount(
        teacher.packing.sentences[tokens[inner]],
        weights=np.where(shares > 0, scores, 0) * shares,
        minlength=len(teacher.lengths),
    )
    xp = array_module(student.emissions)
    return _unary_score(xp.asarray(project(teacher, Token)), student) + xp.asarray(pairs)


def _unary_score(tokens: Any, student: LinearChain) -> Any:
    """Expected emissions, start and end of each sentence, from the teacher's token marginals."""
    packing = student.packing
    by_token = expectation(tokens, student.emissions)
    for ends, potential in (
        (packing.first_tokens, student.start),
        (packing.last_tokens, student.end),
    ):
        by_token[ends] += expectation(tokens[ends], _rows_of(potential, len(ends)))
    return packing.sum(by_token)


def _rows_of(potential: Any, n_rows: int) -> Any:
    return array_module(potential).broadcast_to(potential, (n_rows, len(potential)))


def _token_marginals(structure: Distribution) -> Any:
    marginals = structure.marginals()
    return marginals.tokens if isinstance(marginals, ChainMarginals) else marginals


def _spans_onto_token_score(teacher: Any, student: Token) -> Any:
    marginals = _in_order_of(student, spans.as_flat(teacher).biluo_marginals())
    return student.packing.sum(expectation(marginals.tokens, student.scores))


def _spans_onto_chain_score(teacher: Any, student: LinearChain) -> Any:
    # Sentence by sentence: the pairs of a batch come summed.
    flat, scores = spans.as_flat(teacher), []
    for number in range(len(student.lengths)):
        alone = [number]
        marginals = _in_order_of(student, flat.select(alone).biluo_marginals())
        scores.append(inner(marginals, student.select(alone)))
    return array_module(student.emissions).asarray(scores)


def _score_onto_spans(teacher: AnyTeacher, student: FlatSpans | LocalSpans) -> Any:
    shape = len(student.scores), student.max_width * student.n_labels
    expected = project(teacher, student).reshape(shape)
    return student.packing.sum(expectation(expected, student.scores.reshape(shape)))


EXPECTED_SCORES: dict[tuple[type, type], Callable[[Any, Any], Any]] = {
    (Token, Token): _score_onto_token,
    (LinearChain, Token): _score_onto_token,
    (LinearChain, LinearChain): _chain_onto_chain_score,
    (Token, LinearChain): _token_onto_chain_score,
    (Candidates, Token): _candidates_onto_token_score,
    (Candidates, LinearChain): _candidates_onto_chain_score,
    (FlatSpans, Token): _spans_onto_token_score,
    (FlatSpans, LinearChain): _spans_onto_chain_score,
    (LocalSpans, Token): _spans_onto_token_score,
    (LocalSpans, LinearChain): _spans_onto_chain_score,
}
