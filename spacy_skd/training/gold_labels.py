"""Gold annotation that says something of some labels only, read as what a teacher of these says."""

from collections.abc import Mapping, Sequence

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from ..distill.annotation import MISSING
from ..distill.attached import add_target
from ..distill.targets import Target, Teacher
from ..structures import biluo_labels, indices_of

FACTORY = "skd_ner"
ENTITIES = "doc.ents"  # as spaCy's factories say what they assign and require


class GoldLabels:
    """doc.ents as targets of a teacher that knows some labels.

    labels: by component (skd_ner, of doc.ents) the labels that are annotated; entities with others
        are no annotation. weight: of the annotation against the targets of a document.

    The entities of the documents are then missing for whatever else would learn from them, so all
    that do have to be named.
    """

    def __init__(self, labels: Mapping[str, Sequence[str]], weight: float = 1.0) -> None:
        self.weight = weight
        self.teachers: dict[str, Teacher] = {}
        for component, names in labels.items():
            if not names:
                raise ValueError(
                    f"gold_labels of '{component}' lists no labels: name those that are annotated."
                )
            columns = tuple(biluo_labels(dict.fromkeys(names)))
            self.teachers[component] = Teacher(component, "annotation", columns)

    def check(self, nlp: Language) -> None:
        """Raise ValueError for components that are no skd_ner of doc.ents, and for others that are
        trained on doc.ents."""
        for name in self.teachers if nlp.component_names else ():
            if name not in nlp.component_names:
                raise ValueError(
                    f"gold_labels names the component '{name}', but the pipeline has only "
                    f"{', '.join(nlp.component_names)}."
                )
            factory = nlp.get_pipe_meta(name).factory
            if factory != FACTORY or not _learns_entities(nlp, name):
                raise ValueError(
                    f"gold_labels is for components {FACTORY} that annotate doc.ents, and '{name}' "
                    f"({factory}) is none: its annotation is complete, or missing token by token."
                )
        others = [name for name in _trained(nlp) if name not in self.teachers]
        for name in others if self.teachers else ():
            if _learns_entities(nlp, name):
                raise ValueError(
                    f"With gold_labels, documents have no entities but those of "
                    f"{', '.join(self.teachers)}, and '{name}' learns from doc.ents, too. Name its "
                    "labels in gold_labels, if it is an skd_ner, or train it by itself."
                )

    def attach(self, doc: Doc) -> None:
        """Make targets of what is annotated of a document, and the annotation itself missing."""
        if not self.teachers or not doc.has_annotation("ENT_IOB"):
            return
        missing = doc.to_array("ENT_IOB") == 0
        for teacher in self.teachers.values():
            spans = [(e.start, e.end - 1, e.label_) for e in doc.ents]
            known = [span for span in spans if f"B-{span[2]}" in teacher.labels]
            columns = indices_of(known, len(doc), teacher.labels)
            scores = np.where(missing, MISSING, columns).astype("int16")
            add_target(doc, Target(teacher, scores, weight=self.weight))
        doc.set_ents([], default="missing")


def _trained(nlp: Language) -> list[str]:
    """The components that learn from documents."""
    frozen = nlp.config.interpolate()["training"]["frozen_components"]
    return [
        name
        for name, component in nlp.pipeline
        if getattr(component, "is_trainable", False) and name not in frozen
    ]


def _learns_entities(nlp: Language, name: str) -> bool:
    """Whether a component learns from doc.ents, to find them or to know more of them."""
    if getattr(nlp.get_pipe(name), "cfg", {}).get("spans_key") is not None:
        return False
    meta = nlp.get_pipe_meta(name)
    return ENTITIES in (*meta.assigns, *meta.requires)
