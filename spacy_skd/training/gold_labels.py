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


class GoldLabels:
    """doc.ents as targets of a teacher that knows some labels.

    labels: by component (skd_ner, of doc.ents) the labels that are annotated; entities with others
        are no annotation. weight: of the annotation against the targets of a document.
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
        """Raise ValueError for components that are no skd_ner of doc.ents, or lack a label."""
        for name in self.teachers if nlp.component_names else ():
            if name not in nlp.component_names:
                raise ValueError(
                    f"gold_labels names the component '{name}', but the pipeline has only "
                    f"{', '.join(nlp.component_names)}."
                )
            factory = nlp.get_pipe_meta(name).factory
            component = nlp.get_pipe(name)
            if factory != FACTORY or getattr(component, "cfg", {}).get("spans_key") is not None:
                raise ValueError(
                    f"gold_labels is for components {FACTORY} that annotate doc.ents, and '{name}' "
                    f"({factory}) is none: its annotation is complete, or missing token by token."
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
