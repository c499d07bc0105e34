"""Marginals of a teacher over the parts of a student (docs/math.md §4).

The cross-entropy between two distributions over structures needs nothing of the teacher but its
marginals over the student's parts. One small function a pair of kinds, in one table.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..structures import (
    ArcDistribution,
    ArcParts,
    Candidates,
    ChainMarginals,
    FlatSpans,
    LabelTrees,
    LinearChain,
    LocalSpans,
    SpanningTree,
    Token,
)
from ..structures.base import Floats1d, Floats2d, Ints1d, array_module, expectation, to_host
from . import arcs, spans
from .loss import log_partition_of, untaught
from .matching import check_same_labels, in_order_of, match_labels
from .parts import (
    ARCS,
    SPANS,
    AnyTeacher,
    Arcs,
    Distribution,
    Parts,
    combine,
    expected_parts,
    inner,
    per_token,
    scores_of,
)

__all__ = ["check_same_labels", "condition", "cross_entropy", "match_labels", "project"]


def project(
    teacher: AnyTeacher, onto: type[Distribution] | Distribution, weights: Any | None = None
) -> Parts:
    """The teacher's marginals over the parts of another kind of structure.

    teacher: distributions of a batch of B sentences.
    onto: the student's kind of structure, or a student's batch of the same sentences. With a batch,
        labels are matched by name; labels that are not the same set raise ValueError.
    weights: weight of each sentence (B,); by default 1.

    Returns an array (N, L) for a token student, `ChainMarginals` for a chain, (N, W, R) for spans,
    `ArcParts` for heads and trees, with p(arc) p(relation | arc) for the arcs that have any.
    Unlike the marginals of a chain, whose tokens stay probabilities, everything here is weighted.
    Counts of candidates are where the student's batch is and in its dtype; without a batch, float64
    on the host. Between spans and sequences, without a batch: columns in the order of
    `biluo_labels`, and no other kind onto spans, whose width the batch tells, or from arcs onto
    labels that mean arcs (`LabelTrees`), whose meaning it tells. What such labels cannot say is
    dropped, and the rest renormalised at each token (`arcs.dropped_mass`).

    Raises NotImplementedError where the teacher's kind says nothing about the student's parts.
    """
    kind = onto if isinstance(onto, type) else type(onto)
    if not isinstance(onto, type):
        teacher = match_labels(teacher, onto)
    elif isinstance(teacher, LabelTrees) and issubclass(onto, ARCS):
        teacher = arcs.as_heads(teacher)
    if weights is None:
        scores = teacher.log_weights if isinstance(teacher, Candidates) else scores_of(teacher)
        weights = array_module(scores).ones(len(teacher.lengths), dtype=scores.dtype)
    if isinstance(teacher, Candidates):
        weights = to_host(weights)
    onto_batch = None if isinstance(onto, type) else _onto_batch(teacher, onto)
    projection = find_pair(PROJECTIONS, type(teacher), kind)
    if onto_batch is not None and not isinstance(onto, type):
        like = scores_of(onto)
        weights = array_module(like).asarray(weights, dtype=like.dtype)
        parts = onto_batch(teacher, onto) * per_token(weights, onto)
    elif projection is not None:
        parts = projection(teacher, weights)
        if isinstance(teacher, SPANS) and not isinstance(onto, (type, *SPANS)):
            parts = in_order_of(onto, parts)
    else:
        raise NotImplementedError(
            f"A {type(teacher).__name__} teacher has no marginals over the parts of a "
            f"{kind.__name__} student."
        )
    if isinstance(onto, ARCS) and not onto.n_labels:
        parts = ArcParts(parts.arcs)
    if isinstance(teacher, Candidates) and not isinstance(onto, type):
        like = scores_of(onto)
        xp = array_module(like)
        parts = combine(lambda counts: xp.asarray(counts, dtype=like.dtype), parts)
    return parts


def find_pair(table: Mapping[tuple[type, type], Any], teacher: type, student: type) -> Any:
    """What a table has for the nearest classes of a teacher and a student, None for nothing."""
    pairs = ((above, other) for above in teacher.__mro__ for other in student.__mro__)
    return next((table[pair] for pair in pairs if pair in table), None)


def _onto_batch(teacher: AnyTeacher, student: Distribution) -> Callable[[Any, Any], Parts] | None:
    """How to project onto parts that only the student's batch tells, where there is a way."""
    if isinstance(student, LabelTrees) and arcs.are_trees(teacher):
        return arcs.onto_labels
    return find_pair(ONTO_BATCH, type(teacher), type(student))


def cross_entropy(teacher: AnyTeacher, student: Distribution) -> Any:
    """−Σ_y p_t(y) log p_s(y) of each sentence, exactly (docs/math.md §1): (B,) in nats.

    Of heads and trees with relations, the structure is both. Computed in the dtype of the scores.
    Infinite where the teacher gives probability to a structure that is impossible for the student,
    except for spans wider than a student's of spans, and what the labels of `LabelTrees` cannot
    say, which are left out; and heads that are no tree, which count as if they had their scores.
    Labels are matched by name (ValueError if they differ).
    """
    teacher = match_labels(teacher, student)
    expected_score: Any = _score_onto_batch
    if not isinstance(student, SPANS) and _onto_batch(teacher, student) is None:
        expected_score = find_pair(EXPECTED_SCORES, type(teacher), type(student))
    if expected_score is None:
        raise NotImplementedError(
            f"There is no cross-entropy of a {type(teacher).__name__} teacher and a "
            f"{type(student).__name__} student."
        )
    log_partition = student.log_partition()
    return (log_partition - expected_score(teacher, student)).astype(log_partition.dtype)


def condition(teacher: Distribution, student: Distribution) -> Distribution:
    """The teacher given that the structure is one the student can represent at all.

    A token teacher puts mass on label sequences that a chain student with forbidden moves cannot
    have. What is left of it, renormalised, is a chain with those moves forbidden and no other
    potentials. So it is for students of spans, which are well-formed, and for students of trees,
    unless the teacher's heads are known to be the marginals of such trees, in a sentence whose
    trees have one root: a parser may find several in what a document takes for one sentence. So
    that there are trees, the arcs that a teacher gives nothing share a little where its best heads
    make none (`arcs.with_rest`). Everything else is returned as it is.
    """
    if isinstance(student, SpanningTree):
        return _given_trees(teacher, student)
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


def _given_trees(teacher: Any, student: SpanningTree) -> Any:
    if isinstance(teacher, SpanningTree):
        fits = teacher.projective or not student.projective
        return teacher if fits else arcs.as_trees(teacher, projective=True)
    if isinstance(teacher, arcs.TreeMarginals) and (teacher.projective or not student.projective):
        return _with_one_root(teacher, student)
    possible = array_module(student.scores).isfinite(student.scores)
    possible &= arcs.without_best_tree(teacher, student.projective)
    return arcs.as_trees(arcs.with_rest(teacher, possible), student.projective)


def _with_one_root(teacher: arcs.TreeMarginals, student: SpanningTree) -> arcs.TreeMarginals:
    """Marginals of trees, in sentences where these have several roots given that there is one."""
    several = arcs.with_several_roots(teacher)
    if not len(several):
        return teacher
    xp = array_module(teacher.scores)
    scores, (cells, _) = teacher.scores.copy(), teacher.layout.select(several)
    given = _given_trees(arcs.as_independent(teacher.select(several)), student.select(several))
    with np.errstate(divide="ignore"):
        scores[cells] = xp.log(given.flat_marginals())
    return teacher.with_scores(scores)


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
    (ArcDistribution, ArcDistribution): arcs.arcs_onto_arcs,
    (Candidates, ArcDistribution): arcs.trees_onto_arcs,
}
ONTO_BATCH: dict[tuple[type, type], Callable[[Any, Any], Parts]] = {
    (teacher, student): function
    for student in SPANS
    for teacher, function in (
        (Token, spans.sequence_onto_spans),
        (LinearChain, spans.sequence_onto_spans),
        (FlatSpans, spans.spans_onto_spans),
        (LocalSpans, spans.spans_onto_spans),
        (Candidates, spans.candidates_onto_spans),
    )
} | {(ArcDistribution, LabelTrees): arcs.onto_labels}
"""Onto parts that the student's batch tells, as the number of widths of spans; not weighted."""


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
    marginals = in_order_of(student, spans.as_flat(teacher).biluo_marginals())
    return student.packing.sum(expectation(marginals.tokens, student.scores))


def _spans_onto_chain_score(teacher: Any, student: LinearChain) -> Any:
    # Sentence by sentence: the pairs of a batch come summed.
    flat, scores = spans.as_flat(teacher), []
    for number in range(len(student.lengths)):
        alone = [number]
        marginals = in_order_of(student, flat.select(alone).biluo_marginals())
        scores.append(inner(marginals, student.select(alone)))
    return array_module(student.emissions).asarray(scores)


def _score_onto_batch(teacher: AnyTeacher, student: Any) -> Any:
    log_partition = student.log_partition()
    if not len(student.scores):
        return log_partition
    expected, n_tokens = project(teacher, student), len(student.scores)
    rows = expected.reshape(n_tokens, -1), student.scores.reshape(n_tokens, -1)
    score = student.packing.sum(expectation(*rows))
    if isinstance(student, LabelTrees):
        tokens = untaught(expected, student, array_module(expected).ones_like(log_partition))
        score += log_partition_of(tokens, student)
    return score


def _score_onto_arcs(teacher: AnyTeacher, student: Arcs) -> Any:
    parts = project(teacher, student)
    xp, layout, relations = array_module(student.scores), student.layout, parts.relations
    possible = xp.where(parts.arcs > 0, student.scores, 0)
    score = student.packing.sum(layout.row_sum(parts.arcs * possible))
    if relations is None or not len(relations.tokens):
        return score
    log_probs = student.relation_log_probs(relations.tokens, relations.heads)
    sentences = xp.asarray(layout.sentences[relations.tokens])
    values = expectation(relations.values, log_probs)
    return score + xp.bincount(sentences, weights=values, minlength=len(student.lengths))


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
    (ArcDistribution, ArcDistribution): _score_onto_arcs,
    (Candidates, ArcDistribution): _score_onto_arcs,
}
