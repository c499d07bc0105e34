"""What the components that predict structures share: learning, labels, and the model's life."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.util import minibatch
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, Ragged, set_dropout_rate

from ..distill.attached import get_targets
from ..distill.matching import check_known_labels
from ..distill.objectives import Objective
from ..distill.parts import Distribution, Parts
from ..distill.targets import Target
from ..distill.temperature import check_temperature
from ..layers import get_labels, portions, set_labels
from ..layers.widening import widen_labels
from ..structures import SentenceError
from .barred_labels import register_barred_labels
from .confidence import register_attributes
from .documents import name_of
from .kept_readings import forget, keep, reading_of
from .loading import ConfiguredPipe
from .readings import Answers, Unit

LOGGER = logging.getLogger("spacy")  # what `spacy train` shows
HINT = (
    "If scores are not numbers, training has diverged or the weights are damaged: try a lower "
    "learn_rate, or take another checkpoint."
)
N_SAMPLE_DOCS = 10  # documents that a model sees to infer its dimensions


class StructuredPipe(ConfiguredPipe):
    """A component whose model gives distributions over structures, one a document or a sentence.

    Subclasses say what the labels are: `column_labels`, `get_annotation`, `labels_of`, and
    `set_annotations`. What documents say and how sure the component is: `units`, `known` and
    `read`. One whose structures are of sentences says which they are, too: `annotation_of`,
    `targets_of` and `doc_of`.

    confidence: whether documents keep the distributions that they were annotated with, to be asked
    for probabilities (`confidence.py`). It may be set at any time.
    """

    @property
    def biluo(self) -> bool:
        """Whether the model's labels follow the BILUO scheme."""
        return False

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], Any],
        name: str,
        *,
        objective: Objective,
        scorer: Callable | None,
        confidence: bool = True,
        **cfg: Any,
    ) -> None:
        # Not at import, which spaCy does for every pipeline: others may want these names.
        register_attributes()
        register_barred_labels(self)
        self.vocab = vocab
        self.model = model
        self.name = name
        self.objective = objective
        self.scorer = scorer
        self.confidence = confidence
        self.cfg: dict[str, Any] = {"labels": [], **cfg}

    # --- labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the component can set."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> tuple[str, ...]:
        """The labels in the form that `spacy init labels` writes and `initialize` reads."""
        return self.labels

    def add_label(self, label: str) -> int:
        """Add a label. Returns 1 if it is new, else 0.

        A model that is trained gets columns for it and predicts as before until it has learnt it
        (`layers.widening`).

        Raises ValueError for what is no label, and for a trained parser.
        """
        if not isinstance(label, str) or not label:
            raise ValueError(f"A label of '{self.name}' has to be a non-empty string: {label!r}.")
        if label in self.cfg["labels"]:
            return 0
        self.cfg["labels"].append(label)
        if get_labels(self.model):
            try:
                widen_labels(self.model, self.column_labels())
            except ValueError as error:
                self.cfg["labels"].remove(label)
                raise ValueError(
                    f"The component '{self.name}' has been trained on the labels "
                    f"{', '.join(self.labels)} and cannot take the new label '{label}': {error} "
                    "Train a new component on all the labels, or remove the label from the data."
                ) from error
        self.vocab.strings.add(label)
        return 1

    def column_labels(self) -> Sequence[str]:
        """Names of the model's output columns."""
        return self.labels

    # --- prediction

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate documents, read `batch_size` at a time and predicted in `layers.portions`."""
        for batch in minibatch(stream, batch_size):
            for few in portions(batch, self.model):
                yield from super().pipe(few, batch_size=len(few))

    def predict(self, docs: Iterable[Doc]) -> Distribution:
        """The distribution over the structures of each document, without modifying it."""
        docs = list(docs)
        if any(len(doc) for doc in docs):
            with self._naming(docs):
                return self.model.predict(docs)
        self._require_labels()
        return self.structure_of_nothing(docs)

    def structure_of_nothing(self, docs: Sequence[Doc]) -> Distribution:
        """The distributions of documents without tokens, which no encoder needs to read."""
        nothing = self.model.ops.alloc2f(0, len(self.column_labels()))
        lengths = self.model.ops.alloc1i(len(docs))
        return self.model.get_ref("structure").predict(Ragged(nothing, lengths))

    # --- confidence

    @property
    def temperature(self) -> float:
        """By which scores are divided before confidences are taken; decoding does not depend on it.

        Saved with the component. Raises ValueError when set to what is not above 0 or is infinite.
        """
        return float(self.cfg.get("temperature", 1.0))

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        if not isinstance(temperature, Real) or not np.isfinite(temperature):
            raise ValueError(f"The temperature has to be a number above 0, not {temperature!r}.")
        check_temperature(temperature)
        self.cfg["temperature"] = float(temperature)

    def units(self, doc: Doc) -> list[Any]:
        """What a document, predicted or gold, says: a tuple for each thing that is annotated."""
        raise NotImplementedError

    def known(self, doc: Doc) -> np.ndarray:
        """The tokens of which a gold document says something, (n,) of bool."""
        raise NotImplementedError

    def confidences(
        self, docs: Iterable[Doc], structure: Any, temperature: float | None = None
    ) -> list[list[float]]:
        """The probabilities of what annotated documents say, in the order of `units`.

        structure: what `predict` gave for them. temperature: None for the component's own. NaN for
        what the component did not decide: it was set before, or has a label that it does not know.

        What was set before is known as long as documents keep their confidences; otherwise all is
        taken for the component's.
        """
        docs = list(docs)
        temperature = self.temperature if temperature is None else temperature
        check_temperature(temperature)
        places = [place for doc in docs if (place := self._place_of(doc, structure))]
        if not docs:
            return []
        if len(places) == len(docs):
            answers, numbers = places[0][0], [number for _, number in places]
        else:
            answers = self.read(docs, structure, has_annotations=True)
            numbers = list(range(len(docs)))
        answers = answers.at(temperature)
        return [
            _probabilities(answers, number, self.units(doc)) for doc, number in zip(docs, numbers)
        ]

    def _place_of(self, doc: Doc, structure: Any) -> tuple[Answers, int] | None:
        """What the document keeps of the component, if it is of this structure."""
        reading = reading_of(doc, self.name)
        return None if reading is None else reading.place_in(structure)

    def read(self, docs: list[Doc], structure: Any, *, has_annotations: bool = False) -> Answers:
        """Decode the distributions that `predict` gave, around what documents have set before.

        has_annotations: whether they have been annotated already, so that nothing can be told of
        what was set before.
        """
        raise NotImplementedError

    def _keep(self, docs: list[Doc], answers: Answers) -> None:
        """Let annotated documents know how sure the component is."""
        if self.confidence:
            keep(docs, answers)
        else:
            forget(docs, self.name)

    # --- learning

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch: gold annotation, the teacher's targets, or both.

        Adds the loss (mean over the documents, in nats) to `losses` under the component's name.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        if not any(len(example.predicted) for example in examples):
            return losses
        set_dropout_rate(self.model, drop)
        docs = [example.predicted for example in examples]
        with self._naming(docs):
            structure, backprop = self.model.begin_update(docs)
        loss, gradient = self.get_loss(examples, structure)
        backprop(gradient)
        if sgd not in (None, False):
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Apply the collected gradients and go on to the next step of the objective."""
        self.model.finish_update(sgd)
        self.objective.finish_step()

    def get_loss(self, examples: Iterable[Example], scores: Distribution) -> tuple[float, Parts]:
        """Loss and gradient of a batch under the component's objective.

        Raises ValueError, naming the document, where annotation or target do not fit the model.
        """
        examples = list(examples)
        annotation = self.annotation_of(examples, scores)
        targets = self.targets_of(examples, scores)
        with self._naming([example.predicted for example in examples]):
            loss, gradient = self.objective(scores, annotation, targets)
        if not np.isfinite(loss):
            raise ValueError(
                f"The loss of component '{self.name}' is {loss}: training has diverged, or a "
                "document's annotation is impossible for the model. Try a lower learn_rate."
            )
        return loss, gradient

    @contextmanager
    def _naming(self, docs: Sequence[Doc]) -> Iterator[None]:
        """Let errors of structures and objectives name the component, and the document if one is
        at fault."""
        try:
            yield
        except SentenceError as error:
            doc = self.doc_of(error.sentence, docs)
            raise ValueError(f"Component '{self.name}', {name_of(doc)}: {error}. {HINT}") from error
        except ValueError as error:
            raise ValueError(f"Component '{self.name}': {error}") from error

    def targets_of_document(self, example: Example) -> list[Target]:
        """What teachers left for a document; ValueError if it does not fit the component."""
        targets = get_targets(example.reference, self.name)
        for target in targets:
            self.check_labels(target)
            if len(target) != len(example.predicted):
                raise ValueError(
                    f"The teacher's target for component '{self.name}' has {len(target)} tokens, "
                    f"{name_of(example.predicted)} has {len(example.predicted)}. Student and "
                    "teacher have to see the same tokens: use the reader "
                    "spacy-skd.DistillCorpus.v1."
                )
        return targets

    def check_labels(self, target: Target) -> None:
        """Raise ValueError for a target with labels that the component does not have."""
        check_known_labels(self.labels_of_columns(target.teacher.meant), self.labels, self.name)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Prepare the model for training.

        get_examples: returns examples; labels are read from their annotation and their targets.
        nlp: the pipeline, whose training settings say how long the run is.
        labels: the labels, for instance from `spacy init labels`; read from the examples if None.

        Labels that exist in the label_map of the corpus alone are named in the log: as a warning if
        there is gold annotation, which does not have them. A temperature that was fitted to earlier
        weights is 1 again.
        """
        validate_get_examples(get_examples, f"{type(self).__name__}.initialize")
        self.cfg.pop("temperature", None)
        if labels is None:
            labels = sorted(self._find_labels(get_examples()))
        for label in labels:
            self.add_label(label)
        if not self.labels:
            raise ValueError(
                f"The component '{self.name}' found no labels: the training documents have no "
                "annotation for it. Check the corpus, or give the labels in "
                f"[initialize.components.{self.name}]."
            )
        docs = [example.predicted for example in islice(get_examples(), N_SAMPLE_DOCS)]
        set_labels(self.model, self.column_labels(), biluo=self.biluo)
        self.model.initialize(X=docs)
        if nlp is not None:
            self.objective.start(nlp.config.interpolate()["training"]["max_steps"])

    def _find_labels(self, examples: Iterable[Example]) -> set[str]:
        annotated: set[str] = set()
        taught: set[str] = set()
        mapped: set[str] = set()
        known_teachers: set[int] = set()
        for example in examples:
            annotated.update(self.labels_of(example.reference))
            for target in get_targets(example.reference, self.name):
                teacher = target.teacher
                if id(teacher) not in known_teachers:
                    known_teachers.add(id(teacher))
                    labels = set(self.labels_of_columns(teacher.meant))
                    (annotated if teacher.is_annotation else taught).update(labels - teacher.mapped)
                    mapped.update(labels & teacher.mapped)
        new = sorted(mapped - annotated - taught)
        if new:
            LOGGER.log(
                logging.WARNING if annotated else logging.INFO,
                "label_map gives '%s' the new label %s: no teacher has it itself, and no gold "
                "document (labels there: %s). Check the spelling, unless this is meant.",
                self.name,
                ", ".join(new),
                ", ".join(sorted(annotated)) or "none",
            )
        return annotated | taught | mapped

    # --- what subclasses say

    def annotation_of(self, examples: Sequence[Example], structure: Distribution) -> np.ndarray:
        """Gold annotation of all tokens of a batch, one row a token."""
        return np.concatenate([self.get_annotation(example) for example in examples])

    def targets_of(
        self, examples: Sequence[Example], structure: Distribution
    ) -> list[list[Target]]:
        """What teachers left for each of the structure's sentences."""
        return [self.targets_of_document(example) for example in examples]

    def doc_of(self, sentence: int, docs: Sequence[Doc]) -> Doc:
        """The document of a batch that one of the structure's sentences is in."""
        return docs[sentence]

    def get_annotation(self, example: Example) -> np.ndarray:
        """Gold column of each predicted token (n,), −1 where the annotation is missing."""
        raise NotImplementedError

    def labels_of(self, doc: Doc) -> Iterable[str]:
        """The labels that a gold document uses."""
        raise NotImplementedError

    def labels_of_columns(self, columns: Sequence[str]) -> Iterable[str]:
        """The labels that a model with these output columns knows."""
        return columns


def _probabilities(answers: Answers, number: int, units: Sequence[Unit]) -> list[float]:
    found = answers.found(number)
    return [
        found[unit] if unit in found else _or_nan(answers.probability_of(number, unit))
        for unit in units
    ]


def _or_nan(probability: float | None) -> float:
    return float("nan") if probability is None else probability
