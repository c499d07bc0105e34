"""What a component found in a document, and how sure it is of it: kept with the document, computed
when asked for (docs/math.md §5).

A batch's `Answers` hold the distribution that was decoded. Every document of the batch gets a
`Reading`, which says no more than which document of the batch it is; neither knows the `Doc`. Once
written to bytes or pickled, a reading is plain data: the probabilities of what was found, and the
answers to what has been asked before.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from copy import copy
from functools import cached_property
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeVar

import srsly

from ..distill.temperature import temper
from ..structures.base import Floats1d, Ints1d
from .registries import quicken

Unit: TypeAlias = tuple[Any, ...]
"""What a document says of one thing: an entity (start, end, label), a tagged token (token, label),
an arc (token, head, relation); tokens are numbered in the document."""
Units: TypeAlias = tuple[Unit, ...]
Scored: TypeAlias = list[tuple[float, Units]]
"""Analyses of a document with their probabilities, best first."""

FORMAT = "skd_reading"
"""Key by which plain data is known to be a reading's; its value is the version of the format."""
VERSION = 1
SelfT = TypeVar("SelfT", bound="Answers")


class Answers:
    """What can be asked of the distributions that a component gave for a batch of documents.

    component: its name. structure: the distributions as they were decoded, restricted to what the
    documents had set before. source: what `predict` gave, to know it again; it is not kept alive.
    temperature: by which scores are divided; what was decoded does not depend on it.
    """

    kind: str
    """What it is about: "entities", "tag", "pos", "morph", "morph+pos", "sent_start" or
    "tree"."""
    spans_key: str | None = None

    def __init__(self, component: str, structure: Any, source: Any, temperature: float) -> None:
        self.component = component
        self.structure = structure
        self.temperature = temperature
        self._source = weakref.ref(source)
        self._latest: tuple[int, Any] | None = None

    def are_from(self, source: Any) -> bool:
        """Whether these are about the very distributions that `predict` gave."""
        return self._source() is source

    def at(self: SelfT, temperature: float) -> SelfT:
        """The same at another temperature."""
        other = copy(self)
        other.temperature, other._latest = temperature, None
        for computed in ("probabilities", "listed"):
            other.__dict__.pop(computed, None)
        return other

    @cached_property
    def probabilities(self) -> Floats1d:
        """Of all that was found in the batch; the whole batch is cheapest done at once."""
        # What a structure computes it remembers, and a copy can be let go.
        structure = self.legal(copy(self.structure))
        return self.find_probabilities(temper(structure, self.temperature))

    @cached_property
    def listed(self) -> tuple[list[Any], ...]:
        """What was found in the batch, as lists: documents are short, and reading each of them from
        arrays would take longer."""
        raise NotImplementedError

    def of_document(self, number: int) -> Any:
        """The distribution of one document at the temperature; the latest one is remembered."""
        latest = self._latest  # another thread may ask of another document at the same time
        if latest is None or latest[0] != number:
            chosen = self.legal(self.structure.select(self.sentences_of(number)))
            latest = self._latest = number, temper(chosen, self.temperature)
        return latest[1]

    def probability_of(self, number: int, unit: Unit) -> float | None:
        """The probability of anything a document could say; None where the component cannot say it
        or it was set before."""
        raise NotImplementedError

    def found(self, number: int) -> dict[Unit, float]:
        """What was found in a document, with probabilities."""
        raise NotImplementedError

    def alternatives(self, number: int, k: int) -> Scored:
        """The `k` best analyses of a document; fewer where there are fewer."""
        raise NotImplementedError

    def above(self, number: int, threshold: float) -> list[tuple[Unit, float]]:
        """All entities of a document whose probability is at least the threshold."""
        raise ValueError(f"Component '{self.component}' finds no entities.")

    def n_tokens(self, number: int) -> int:
        """How many tokens a document has."""
        raise NotImplementedError

    def preset(self, number: int) -> tuple[tuple[int, int], ...]:
        """Where a document had entities before, (start, end) each."""
        return ()

    # --- what subclasses say, for the methods above

    def legal(self, structure: Any) -> Any:
        """The distribution over what can be decoded."""
        return structure

    def sentences_of(self, number: int) -> Ints1d | list[int]:
        """The structure's sentences that are a document's."""
        return [number]

    def find_probabilities(self, structure: Any) -> Floats1d:
        """`probabilities`, under a distribution like `structure`."""
        raise NotImplementedError


class Reading:
    """What one component found in one document. A copy of the document has the same reading.

    Made by `Reading.of` from a batch's answers, and by `Reading.from_dict` from plain data.

    What was asked before is remembered as one value, replaced by another at once, and never read
    again to answer: another thread may ask of the same document at the same time.
    """

    def __init__(self, component: str, kind: str, n_tokens: int) -> None:
        self.component = component
        self.kind = kind
        self.n_tokens = n_tokens
        self.spans_key: str | None = None
        self.preset: tuple[tuple[int, int], ...] = ()
        self._answers: Answers | None = None
        self._number = -1
        self._found: dict[Unit, float] | None = None
        self._best: tuple[Scored, bool] = [], False  # whether these are all that there are
        self._above: tuple[float, list[tuple[Unit, float]]] | None = None

    @classmethod
    def of(cls, answers: Answers, number: int) -> Reading:
        """The reading of a document, given by its number in a batch."""
        reading = cls(answers.component, answers.kind, answers.n_tokens(number))
        reading.spans_key = answers.spans_key
        reading.preset = answers.preset(number)
        reading._answers, reading._number = answers, number
        return reading

    def found(self) -> dict[Unit, float]:
        """What was found, in the order of the document, with probabilities."""
        if self._found is None:
            assert self._answers is not None
            self._found = self._answers.found(self._number)
        return self._found

    def probability_of(self, unit: Unit) -> float | None:
        """The probability of anything that the document could say.

        None where the component cannot say it, where it was set before, and, of what was not found,
        where the distribution is not at hand any more.
        """
        found = self.found() if self._found is None else self._found  # done for every token
        probability = found.get(unit)
        if probability is None and self._answers is not None:
            return self._answers.probability_of(self._number, unit)
        return probability

    def alternatives(self, k: int) -> Scored:
        """The `k` best analyses. Raises ValueError for a k that is no number or below 1, and where
        they are needed of a document that was written before anyone had asked for so many."""
        if not isinstance(k, Integral) or k < 1:
            raise ValueError(f"k has to be a whole number of at least 1, but it is {k!r}.")
        best, are_all = self._best
        if len(best) < k and not are_all:
            if self._answers is None:
                raise self._lost(f"its {k} best analyses ({len(best)} are kept)")
            best = self._answers.alternatives(self._number, k)
            self._best = best, len(best) < k
        return best[:k]

    def above(self, threshold: float) -> list[tuple[Unit, float]]:
        """All entities whose probability is at least the threshold. Raises ValueError as
        `alternatives` does, for a threshold that is no number above 0, and if it is not about
        entities."""
        if not isinstance(threshold, Real) or not threshold > 0:
            raise ValueError(f"The threshold has to be a number above 0, but it is {threshold!r}.")
        threshold, above = float(threshold), self._above
        if above is None or threshold < above[0]:
            if self._answers is None:
                raise self._lost(f"its entities with a probability of {threshold} or more")
            above = self._above = threshold, self._answers.above(self._number, threshold)
        return [(unit, value) for unit, value in above[1] if value >= threshold]

    def place_in(self, source: Any) -> tuple[Answers, int] | None:
        """The answers of the document's batch and its number there; None if they are not about
        what `predict` gave as `source`."""
        if self._answers is None or not self._answers.are_from(source):
            return None
        return self._answers, self._number

    def _lost(self, what: str) -> ValueError:
        return ValueError(
            f"The document has been written and read since component '{self.component}' annotated "
            f"it, and does not know {what} any more. Ask before it is written, or let the pipeline "
            "annotate its text again."
        )

    # --- plain data

    def to_dict(self) -> dict[str, Any]:
        """The reading as plain data, after computing the probabilities of what was found."""
        above, (best, are_all) = None, self._best
        if (asked := self._above) is not None:
            threshold, entities = asked
            above = [threshold, [[list(unit), value] for unit, value in entities]]
        return {
            FORMAT: VERSION,
            "component": self.component,
            "kind": self.kind,
            "n_tokens": self.n_tokens,
            "spans_key": self.spans_key,
            "preset": [list(place) for place in self.preset],
            "found": [[list(unit), value] for unit, value in self.found().items()],
            "alternatives": [
                [probability, [list(unit) for unit in units]] for probability, units in best
            ],
            "has_all": are_all,
            "above": above,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """What `to_dict` gave, read again."""
        reading = cls(data["component"], data["kind"], data["n_tokens"])
        reading.spans_key = data["spans_key"]
        reading.preset = tuple((start, end) for start, end in data["preset"])
        reading._found = {tuple(unit): value for unit, value in data["found"]}
        best = [
            (value, tuple(tuple(unit) for unit in units)) for value, units in data["alternatives"]
        ]
        reading._best = best, data["has_all"]
        if data["above"] is not None:
            threshold, entities = data["above"]
            reading._above = threshold, [(tuple(unit), value) for unit, value in entities]
        return reading

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], Reading], tuple[dict[str, Any]]]:
        return Reading.from_dict, (self.to_dict(),)

    def __copy__(self) -> Reading:
        return self

    def __deepcopy__(self, memo: Any) -> Reading:
        return self


def is_reading(data: Any) -> bool:
    """Whether this is the plain data of a reading in a format that is known."""
    return isinstance(data, dict) and data.get(FORMAT) == VERSION


def encode(value: Any, chain: Callable | None = None) -> Any:
    """Plain data for a reading; what srsly's msgpack calls for objects that it does not know."""
    if isinstance(value, Reading):
        return value.to_dict()
    return value if chain is None else chain(value)


def decode(data: Any, chain: Callable | None = None) -> Any:
    """A reading of plain data; what srsly's msgpack calls for every map."""
    if FORMAT in data and is_reading(data):
        try:
            return Reading.from_dict(data)
        except (KeyError, TypeError, ValueError):  # somebody else's, or damaged: no more than data
            return data
    return data if chain is None else chain(data)


srsly.msgpack_encoders.register("skd_reading", func=encode)
srsly.msgpack_decoders.register("skd_reading", func=decode)
quicken(srsly.msgpack_encoders)
quicken(srsly.msgpack_decoders)
