"""`token._.barred_labels`: labels that a token must not get, whoever knows better says.

A rule before the component, or the caller, sets a list of labels: entity labels, tags, or whatever
components label tokens with. It counts for every component that has such a label; what documents
have already (entities, tags) is kept even so. A label that no component has is warned of.
"""

import warnings
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any
from weakref import WeakSet

import numpy as np
from spacy.tokens import Doc, Token
from spacy.vocab import Vocab

from .documents import name_of, some_of

NAME = "barred_labels"
_components: WeakSet[Any] = WeakSet()
"""All that look at the attribute, each with its `vocab` and its `labels`."""
_lock = Lock()


def register_barred_labels(component: Any) -> None:
    """Let spaCy know of the attribute, unless it does, and remember who has which labels."""
    if not Token.has_extension(NAME):
        Token.set_extension(NAME, default=None)
    with _lock:
        _components.add(component)


def barred_labels(docs: Sequence[Doc], labels: Sequence[str]) -> np.ndarray | None:
    """Which of the labels the tokens of a batch must not get, (N, L) of bool; None if there are no
    such tokens.

    Raises ValueError, naming document and token, for what is no list of labels; warns of labels
    that no component with the documents' vocabulary has.
    """
    found = [(doc, _places(doc)) for doc in docs]
    if not any(places for _, places in found):
        return None
    barred = np.zeros((sum(map(len, docs)), len(labels)), dtype=bool)
    number = {label: column for column, label in enumerate(labels)}
    others: set[str] = set()
    offset = 0
    for doc, places in found:
        for token in doc if places else ():
            if token.idx in places:
                names = _checked(places[token.idx], token)
                barred[offset + token.i, [number[name] for name in names if name in number]] = True
                others.update(name for name in names if name not in number)
        offset += len(doc)
    if others:
        _warn_of_unknown(others, labels, docs[0].vocab)
    return barred if barred.any() else None


def check_not_all(barred: np.ndarray, free: np.ndarray, docs: Sequence[Doc], name: str) -> None:
    """Raise ValueError if a token that has to get a label is barred from all of them.

    barred: (N, L). free: (N,) which tokens have no label yet. name: of the component.
    """
    offset = 0
    for doc in docs:
        own = slice(offset, offset + len(doc))
        for number in np.flatnonzero(barred[own].all(axis=1) & free[own])[:1].tolist():
            raise ValueError(
                f"The token '{doc[number].text}' of {name_of(doc)} is barred from all "
                f"{barred.shape[1]} labels of component '{name}', which has to give it one: take "
                f"some out of token._.{NAME}."
            )
        offset += len(doc)


def _places(doc: Doc) -> dict[Any, Iterable[str]]:
    """What is set, by the tokens' places in the text."""
    if not doc.user_data:
        return {}
    return {
        key[2]: value
        for key, value in doc.user_data.items()
        if isinstance(key, tuple) and len(key) == 4 and key[:2] == ("._.", NAME)
        # Of an array it cannot be said whether it is true.
        if value is not None and not (isinstance(value, (list, tuple)) and not value)
    }


def _checked(names: Iterable[str], token: Token) -> Iterable[str]:
    is_list = isinstance(names, (list, tuple))  # what can be written with a document
    if not is_list or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"token._.{NAME} of '{token.text}' in {name_of(token.doc)} is {names!r}, but it should "
            'be a list of labels, for instance ["PERSON"].'
        )
    return names


def _warn_of_unknown(names: Iterable[str], own: Sequence[str], vocab: Vocab) -> None:
    """Warn of labels that no component has. own: those of the component that asks.

    The components of a pipeline share its vocabulary. One that came into this process by other ways
    than being made is not known here, and then nothing is said.
    """
    with _lock:
        labels = {label for each in _components if each.vocab is vocab for label in each.labels}
    unknown = sorted(set(names) - labels)
    if unknown and labels.issuperset(own):
        warnings.warn(
            f"token._.{NAME} has {some_of(list(map(repr, unknown)))}, which no component has as a "
            "label and which changes nothing. Check the spelling: there are "
            f"{some_of(sorted(labels))}.",
            stacklevel=2,
        )
