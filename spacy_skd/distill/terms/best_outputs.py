"""A teacher's k best outputs, found once for each sentence and kept beside its target.

Training meets a sentence in every epoch; the search (exact, docs/math.md §2.2) costs about as much
as a tenth of a training step. Kept label sequences take 2 k bytes a token, trees with relations
4 k; sets of spans are kept as Python sets, a few hundred bytes each.
"""

from typing import Any

import numpy as np

from ...structures import Candidates, HeadSelection, SentenceError
from ...structures.base import to_host
from ..arcs import as_trees, n_known, with_rest
from ..parts import SPANS
from .base import Lesson

MAX_K = 50


def best_outputs(
    lesson: Lesson, k: int, *, temperature: float, uniform: bool, projective: bool = False
) -> Candidates:
    """The k best outputs of the lesson's teacher as candidates, fewer where there are fewer.

    temperature: at which the teacher's distributions are. uniform: weigh all k alike, instead of
    by their probabilities. projective: of a teacher of heads, whose outputs are the best trees,
    only trees without crossing arcs.
    """
    targets, teacher = lesson.targets, lesson.teacher
    are_sets = isinstance(teacher, SPANS) or (
        isinstance(teacher, Candidates) and teacher.are_sets()
    )
    key = ("best outputs", k, temperature, type(teacher).__name__, projective, teacher.labels)
    unknown = [number for number, target in enumerate(targets) if key not in target.kept]
    if unknown:
        asked: Any = teacher if len(unknown) == len(targets) else teacher.select(unknown)
        if isinstance(asked, HeadSelection):
            found = best_trees_of(asked, k, projective)
        else:
            found = asked.topk(k)
        for number, scored in zip(unknown, found):
            outputs: Any = [output for output, _ in scored]
            if not are_sets:
                outputs = np.asarray(outputs, dtype="int16")
            log_probs = np.asarray([log_prob for _, log_prob in scored])
            targets[number].kept[key] = outputs, log_probs
    labels = teacher.labels
    if isinstance(teacher, HeadSelection) and labels is not None:
        labels = labels[: n_known(teacher)]
    kept = [target.kept[key] for target in targets]
    return Candidates(
        [outputs for outputs, _ in kept],
        [np.zeros(len(log_probs)) if uniform else log_probs for _, log_probs in kept],
        labels=labels,
        lengths=teacher.lengths,
    )


def best_trees_of(
    teacher: HeadSelection, k: int, projective: bool
) -> list[list[tuple[Any, float]]]:
    """The k best trees of arcs that the teacher gives any probability, with the best relation of
    each arc: head numbers and relations (2, n), and log-probabilities.

    Where these arcs make no tree, the best one of all arcs; the relations of arcs that the teacher
    gives nothing are −1, and so are those that mean nothing to the student. Without relations, head
    numbers alone.
    """
    try:
        found = as_trees(teacher, projective).topk(k)
    except SentenceError:
        found = []
        for number in range(len(teacher.lengths)):
            alone = teacher.select([number])
            try:
                found += as_trees(alone, projective).topk(k)
            except SentenceError:
                found += as_trees(with_rest(alone), projective).topk(1)
    if teacher.relations is None:
        return found
    return [
        [(_with_relations(heads, teacher, sentence), log_prob) for heads, log_prob in scored]
        for sentence, scored in enumerate(found)
    ]


def _with_relations(heads: Any, teacher: HeadSelection, sentence: int) -> np.ndarray:
    """Head numbers and best relations of a sentence, (2, n)."""
    layout = teacher.layout
    tokens = np.arange(*layout.token_offsets[sentence : sentence + 2])
    heads = np.asarray(heads, dtype=np.int64)
    best = to_host(teacher.relation_log_probs(tokens, heads)).argmax(axis=1)
    known = np.isfinite(to_host(teacher.scores[layout.cells(tokens, heads)]))
    known &= best < n_known(teacher)
    return np.stack([heads, np.where(known, best, -1)])
