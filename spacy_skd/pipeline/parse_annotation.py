"""Trees in documents: annotation as head numbers within sentences or as labels of tokens, and the
way back."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from spacy.parts_of_speech import NAMES
from spacy.symbols import DEP, HEAD, POS, SENT_START
from spacy.tokens import Doc
from spacy.training import Example

from ..distill.annotation import MISSING
from ..distill.arc_targets import best_arcs, opening_tokens
from ..distill.targets import Target
from ..structures import SpanningTree
from ..structures.base import Floats2d, Ints1d, to_host
from ..structures.dependency_codes import Words, labels_of_trees
from .documents import same_tokens

Ids1d: TypeAlias = npt.NDArray[np.uint64]
"""Numbers of strings in spaCy's store."""


def gold_tree(example: Example) -> tuple[Ints1d, Ids1d]:
    """Token number of each predicted token's head, its own for a root, and the id of its relation,
    both (n,); −1 and 0 where the gold document does not say.

    spaCy takes a token without a relation as one without a head.
    """
    reference = example.reference
    columns: Any = reference.to_array([HEAD, DEP])
    relations = columns[:, 1]
    heads = np.arange(len(reference)) + columns[:, 0].astype(np.int64)
    heads[relations == 0] = MISSING
    if same_tokens(example):
        return heads, relations
    gold_of = _single(example.alignment.x2y.lengths, example.alignment.x2y.data)
    predicted_of = _single(example.alignment.y2x.lengths, example.alignment.y2x.data)
    known = gold_of != MISSING
    # Two predicted tokens of one gold token, or one of two, have no head that can be told.
    known[known] &= predicted_of[gold_of[known]] != MISSING
    aligned_heads = np.full(len(example.predicted), MISSING)
    aligned_heads[known] = _look_up(predicted_of, heads[gold_of[known]])
    aligned_relations = np.zeros(len(example.predicted), dtype=np.uint64)
    aligned_relations[known] = relations[gold_of[known]]
    aligned_relations[aligned_heads == MISSING] = 0
    return aligned_heads, aligned_relations


def gold_trees(
    examples: Sequence[Example], lengths: Ints1d, single_root: bool, projective: bool
) -> tuple[Ints1d, Ids1d]:
    """Head numbers within sentences and ids of relations of all tokens of a batch, both (N,).

    lengths: (B,) of the sentences. single_root, projective: leave out what no tree with one root
    has, and of such trees what no projective one has.
    """
    trees = [gold_tree(example) for example in examples]
    starts = np.cumsum([0, *(len(heads) for heads, _ in trees)])
    heads = np.concatenate(
        [np.where(heads < 0, MISSING, heads + start) for (heads, _), start in zip(trees, starts)]
    )
    heads = within_sentences(heads, lengths)
    if single_root:
        heads = without_further_roots(heads, lengths)
        if projective:
            heads = without_crossing(heads, lengths)
    return heads, np.concatenate([relations for _, relations in trees])


def _single(lengths: np.ndarray, numbers: np.ndarray) -> Ints1d:
    """The only partner of each token, −1 where there is none or several."""
    firsts = np.cumsum(lengths) - lengths
    single = lengths == 1
    partners = np.full(len(lengths), MISSING)
    partners[single] = numbers[firsts[single]]
    return partners


def _look_up(partners: Ints1d, heads: Ints1d) -> Ints1d:
    return np.where(heads == MISSING, MISSING, partners[heads])


def within_sentences(heads: Ints1d, lengths: Sequence[int] | Ints1d) -> Ints1d:
    """Head numbers within the sentence (N,), 0 for its root, of token numbers in the batch; −1 for
    heads that are missing or in another sentence.

    heads: (N,) token numbers in the batch, a root's its own. lengths: of the sentences.
    """
    lengths = np.asarray(lengths)
    ends = np.repeat(np.cumsum(lengths), lengths)
    starts = ends - np.repeat(lengths, lengths)
    local = np.where((heads < starts) | (heads >= ends), MISSING, heads - starts + 1)
    local[heads == np.arange(len(heads))] = 0
    return local


def without_further_roots(heads: Ints1d, lengths: Sequence[int] | Ints1d) -> Ints1d:
    """The same with no root where a sentence has several: it is not known which of them it is."""
    lengths = np.asarray(lengths)
    sentences = np.repeat(np.arange(len(lengths)), lengths)
    n_roots = np.bincount(sentences[heads == 0], minlength=len(lengths))
    return np.where((heads == 0) & (n_roots[sentences] > 1), MISSING, heads)


def without_crossing(heads: Ints1d, lengths: Sequence[int] | Ints1d) -> Ints1d:
    """The same without arcs that no projective tree has beside the others: kept are those of the
    projective tree that has most of them."""
    heads = heads.copy()
    lengths = np.asarray(lengths)
    bounds = np.cumsum([0, *lengths.tolist()]).tolist()
    sentences = [heads[start:stop] for start, stop in pairwise(bounds)]
    # With missing heads, arcs that do not cross may still leave no projective tree.
    doubtful = [
        sentence
        for sentence in sentences
        if (sentence != MISSING).any() and ((sentence == MISSING).any() or _cross(sentence))
    ]
    trees = SpanningTree([_indicators(sentence) for sentence in doubtful], projective=True)
    for sentence, tree in zip(doubtful, trees.argmax()):
        sentence[sentence != tree] = MISSING
    return heads


def _indicators(heads: Ints1d) -> Floats2d:
    """1 at the arcs of a sentence that are known, (n, n + 1)."""
    arcs = np.zeros((len(heads), len(heads) + 1))
    known = np.flatnonzero(heads != MISSING)
    arcs[known, heads[known]] = 1
    return arcs


def _cross(heads: Ints1d) -> bool:
    """Whether arcs of a sentence cross; the root stands before the first token."""
    dependents = np.flatnonzero(heads != MISSING)
    ends = np.stack([dependents + 1, heads[dependents]])
    low, high = ends.min(axis=0), ends.max(axis=0)
    inside = (low[:, None] < low) & (low < high[:, None])
    return bool((inside & (high > high[:, None])).any())


def taught_tree(doc: Doc, target: Target | None) -> tuple[Ints1d, Ids1d]:
    """What a teacher takes for each token's head and relation, as `gold_tree`."""
    if target is None or len(target) != len(doc):
        return np.full(len(doc), MISSING), np.zeros(len(doc), dtype=np.uint64)
    heads, columns = best_arcs(target)
    ids = [doc.vocab.strings.add(label) for label in target.teacher.labels]
    return heads, np.asarray(ids, dtype=np.uint64)[columns]


def token_labels(
    heads: Ints1d,
    relations: Ids1d,
    lengths: Sequence[int] | Ints1d,
    docs: Sequence[Doc],
    tags: Ints1d | None,
) -> list[str | None]:
    """The label of each token that means its head and relation (N,), None where one is not known.

    heads: (N,) head numbers within sentences. docs: that know the names of the relations. tags:
        (N,) parts of speech, if heads are told by them, not by their positions.
    """
    names = None if tags is None else {tag: NAMES[tag] for tag in np.unique(tags).tolist()}
    return labels_of_trees(
        np.where(relations == 0, MISSING, heads),
        names_of(relations, docs),
        Words(to_host(lengths), tags),
        names,
    )


def names_of(relations: Ids1d, docs: Sequence[Doc]) -> list[str]:
    """The names of relations (N,), each of which the vocabulary of one of the documents knows."""
    stores = list({id(doc.vocab): doc.vocab.strings for doc in docs}.values())
    ids, places = np.unique(relations, return_inverse=True)
    names = [next(store[one] for store in stores if one in store) for one in ids.tolist()]
    return [names[place] for place in places.tolist()]


def gold_sentence_starts(example: Example) -> Ints1d:
    """The predicted tokens that begin sentences of the gold document."""
    starts = example.reference.to_array(SENT_START) == 1
    if same_tokens(example):
        return np.flatnonzero(starts)
    predicted_of = _single(example.alignment.y2x.lengths, example.alignment.y2x.data)
    found = predicted_of[np.flatnonzero(starts)]
    return found[found != MISSING]


def set_sentence_starts(doc: Doc, starts: Sequence[int] | Ints1d) -> None:
    """Let sentences begin at these tokens, and at no others."""
    codes: Any = np.full(len(doc), -1, dtype=np.int64)
    codes[np.asarray(starts, dtype=np.int64)] = 1
    doc.from_array([SENT_START], codes[:, None].astype(np.uint64))


def give_tags(example: Example) -> None:
    """Give a predicted document without parts of speech those of the gold document."""
    doc = example.predicted
    if not doc.has_annotation("POS") and same_tokens(example):
        tags: Any = example.reference.to_array([POS])
        doc.from_array([POS], tags[:, None])


def give_sentences(example: Example, target: Target | None) -> None:
    """Give a predicted document without sentences those of the gold document, or else those in
    which the teacher saw it."""
    doc, reference = example.predicted, example.reference
    if len(doc) < 2 or doc.has_annotation("SENT_START"):
        return
    if reference.has_annotation("SENT_START"):
        set_sentence_starts(doc, gold_sentence_starts(example))
    elif target is not None and len(target) == len(doc):
        set_sentence_starts(doc, opening_tokens(target))


def set_tree(doc: Doc, heads: Ints1d, relations: Ids1d) -> None:
    """Write token numbers of heads (n,), a root's its own, and ids of relations (n,).

    spaCy makes children, edges and sentences of them.
    """
    columns: Any = np.empty((len(doc), 2), dtype=np.uint64)
    columns[:, 0] = (heads - np.arange(len(doc))).astype(np.int64).view(np.uint64)
    columns[:, 1] = relations
    doc.from_array([HEAD, DEP], columns)
