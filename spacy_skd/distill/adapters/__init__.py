"""How any component of a teacher is read, one kind a file.

An adapter is a function from a pipeline, the name of a component and the component to its reader,
or to None if it does not know that kind. Those that users register in `teachers`, by a decorator in
a file given as `--code` or by entry points of the group `spacy_skd_teachers`, are asked first:

    @teachers("my_tagger")
    def read_my_tagger(nlp, name, component):
        return MyReader(name, component, "its votes") if isinstance(component, MyTagger) else None
"""

import catalogue
from spacy.language import Language

from .annotations import annotation_reader
from .base import Adapter, CannotTeach, Readable, Reader
from .entities import entity_reader
from .parses import parse_reader
from .spans import span_reader
from .structures import structure_reader
from .tags import tag_reader

__all__ = ["Adapter", "CannotTeach", "Readable", "Reader", "find_reader", "teachers"]

teachers = catalogue.create("spacy_skd", "teachers", entry_points=True)
"""The adapters of users by name."""

BUILT_IN: tuple[Adapter, ...] = (
    tag_reader,
    entity_reader,
    parse_reader,
    span_reader,
    structure_reader,
    annotation_reader,
)
UNSAID = "it does not say what it assigns (assigns=[…] of its factory), or assigns nothing"
UNLEARNT = "it assigns {}, which no student learns"


def find_reader(nlp: Language, name: str) -> Reader:
    """The reader of a component, by the first adapter that knows it.

    Raises CannotTeach, saying why, if nothing can be read from it.
    """
    component = nlp.get_pipe(name)
    for adapter in (*teachers.get_all().values(), *BUILT_IN):
        reader = adapter(nlp, name, component)
        if reader is not None:
            return reader
    assigns = nlp.get_pipe_meta(name).assigns
    raise CannotTeach(UNLEARNT.format(", ".join(assigns)) if assigns else UNSAID)
