"""spaCy's `parser` and `beam_parser`: the trees in a beam, or the only one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.attrs import DEP, HEAD, SENT_START
from spacy.language import Language
from spacy.pipeline import DependencyParser
from spacy.pipeline._parser_internals.nonproj import DELIMITER, deprojectivize
from spacy.tokens import Doc

from ...structures import Sentences
from ...structures.base import Ints1d
from ..copies import plain_copy
from ..listed_trees import ScoredTrees, in_sentences
from .base import Reader, check_trained
from .beams import has_beam, parses_of

ROOT = "ROOT"  # what spaCy's parser calls the relation of every root
Arc = tuple[int, int, str]  # head, dependent, relation


class ParseReader(Reader):
    """Reads the trees of a transition-based parser as the probabilities of their arcs, in the
    sentences that the document has, or else in those of the best tree."""

    def __init__(self, name: str, component: Any) -> None:
        width = component.cfg["beam_width"]
        best = f"the {width} best trees of a beam" if has_beam(component) else "its best tree alone"
        super().__init__(name, component, best)
        moves = {move.partition("-")[2] for move in component.move_names}
        self.labels = tuple(
            sorted({ROOT, *(move.partition(DELIMITER)[0] for move in moves if move)})
        )
        # Trees that are not projective are told by labels of their own.
        self._projective = not any(DELIMITER in move for move in moves)

    def read(self, docs: Sequence[Doc], prediction: Sequence[Any]) -> dict[str, Sentences]:
        if any(map(len, docs)) and has_beam(self.component):
            found = parses_of(self.component, prediction)
            documents = [self._trees(doc, parses) for doc, parses in zip(docs, found)]
        else:
            documents = [self._best(doc, state) for doc, state in zip(docs, prediction)]
        starts = [_sentence_starts(doc) for doc in docs]
        sentences = in_sentences(documents, starts, self.labels, projective=self._projective)
        return {self.name: sentences}

    def _best(self, doc: Doc, state: Any) -> ScoredTrees:
        copied = plain_copy(doc, doc.vocab)
        self.component.set_annotations([copied], [state])
        return self._tree_of(copied)[None], np.ones(1)

    def _trees(self, doc: Doc, parses: Sequence[tuple[float, Sequence[Arc]]]) -> ScoredTrees:
        probs = [prob for prob, _ in parses]
        trees = [self._tree(doc, arcs) for _, arcs in parses]
        rest = 1 - sum(probs)
        if rest > 1e-6 or not parses:  # spaCy leaves out the tree without arcs
            trees.append(self._tree(doc, []))
            probs.append(rest)
        order = np.argsort(-np.asarray(probs), kind="stable")
        return np.stack(trees)[order], np.asarray(probs)[order]

    def _tree(self, doc: Doc, arcs: Sequence[Arc]) -> np.ndarray:
        """Token numbers of heads and the numbers of relations, (2, n)."""
        tree = np.stack([np.arange(len(doc)), np.full(len(doc), self.labels.index(ROOT))])
        if any(DELIMITER in relation for _, _, relation in arcs):
            return self._lowered(doc, arcs)
        for head, dependent, relation in arcs:
            tree[:, dependent] = head, self.labels.index(relation)
        return tree

    def _lowered(self, doc: Doc, arcs: Sequence[Arc]) -> np.ndarray:
        """The tree that is not projective and that arcs with compound labels stand for."""
        strings = doc.vocab.strings
        values: Any = np.zeros((len(doc), 2), dtype=np.uint64)
        values[:, 1] = strings.add(ROOT)
        for head, dependent, relation in arcs:
            shift = np.asarray(head - dependent, dtype=np.int64).view(np.uint64)
            values[dependent] = shift, strings.add(relation)
        copied = plain_copy(doc, doc.vocab)
        copied.from_array([HEAD, DEP], values)
        return self._tree_of(deprojectivize(copied))

    def _tree_of(self, doc: Doc) -> np.ndarray:
        heads = [token.head.i for token in doc]
        relations = [
            self.labels.index(ROOT if token.head.i == token.i else token.dep_) for token in doc
        ]
        return np.asarray([heads, relations], dtype=np.int64).reshape(2, len(doc))


def _sentence_starts(doc: Doc) -> Ints1d | None:
    """The tokens that begin sentences, if the document has its sentences."""
    codes = doc.to_array(SENT_START)
    return np.flatnonzero(codes == 1) if len(doc) and (codes[1:] != 0).all() else None


def parse_reader(nlp: Language, name: str, component: Any) -> Reader | None:
    """spaCy's dependency parser, with or without a beam."""
    if not isinstance(component, DependencyParser):
        return None
    check_trained(component)
    return ParseReader(name, component)
