"""One temperature a component, fitted on development documents; decoding stays as it is.

The temperature (Guo et al. 2017, section 4.2; for structures Kuleshov and Liang 2015) minimises the
maximum mean calibration error of the confidences of what the component predicts: how far they are
from being right as often as they say. That is no proper score: only one number is fitted, by which
confidences cannot become all alike. Log loss, which is, would also ask of them to tell right from
wrong, and let the few mistakes of which a component is surest decide, those of the gold annotation
among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from tqdm import tqdm

from .judgement import Judged, is_confident, judge
from .measures import N_BINS, Measures, kernel_error, measure
from .search import HIGH, LOW, best_temperature

FEW = 100  # predictions under which a temperature says little


class Comparison(NamedTuple):
    """The measures of the same predictions before and after calibration."""

    before: Measures
    after: Measures
    right: int

    @property
    def judged(self) -> int:
        """How many predictions there are."""
        return int(self.before.bins.counts.sum())

    @property
    def accuracy(self) -> float | None:
        """Part of the predictions that is right; None if there are none."""
        return self.right / self.judged if self.judged else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "judged": self.judged,
            "accuracy": self.accuracy,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


@dataclass
class Calibration:
    """How a component was calibrated.

    temperature: what its scores are divided by from now on. previous: what they were divided by.
    dev: on the documents on which it was fitted. test: on others, if there are any with gold.
    warnings: what to know before the confidences are relied on.
    """

    temperature: float
    previous: float
    dev: Comparison
    test: Comparison | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, Comparison]:
        """The comparisons that there are, by the names of the documents."""
        return {"dev": self.dev, **({"test": self.test} if self.test else {})}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "temperature": self.temperature,
            "previous_temperature": self.previous,
            **{name: part.to_dict() for name, part in self.parts.items()},
            "warnings": self.warnings,
        }


class Outcome(NamedTuple):
    """The calibrated components, and why the others were left out, both by name."""

    calibrated: dict[str, Calibration]
    skipped: dict[str, str]


def calibrate(
    nlp: Language,
    dev: Sequence[Doc],
    test: Sequence[Doc] = (),
    *,
    components: Sequence[str] | None = None,
    n_bins: int = N_BINS,
) -> Outcome:
    """Fit and set the temperature of each component, and measure what it is worth.

    nlp: the pipeline; its components' `temperature` is set, nothing else of it changes.
    dev: gold documents of the pipeline's vocabulary, on which temperatures are fitted.
    test: others, on which they are only measured.
    components: names; None for all that have confidences.
    n_bins: of the reliability diagram and the ECE.

    A prediction is judged where the gold documents say something of it. Raises ValueError if there
    are no dev documents, no component is of a given name, or none of them can be calibrated.
    """
    if not dev:
        raise ValueError("There are no documents to calibrate on.")
    names, skipped = _find_components(nlp, components)
    found: dict[str, Calibration] = {}
    if names:
        for judged in judge(nlp, dev, names, title="dev"):
            if judged.n_known:
                found[judged.name] = _fit(judged, n_bins)
            else:
                skipped[judged.name] = "the documents have no gold annotation for it"
    if not found:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in skipped.items())
        raise ValueError(
            f"None of the components can be calibrated ({reasons or 'the pipeline has none'}). "
            "What can be are skd_ner, skd_tagger and skd_parser, on documents that are annotated "
            "with what they predict."
        )
    if test:
        for judged in judge(nlp, test, list(found), title="test"):
            own = found[judged.name]
            if judged.n_known:
                own.test = _compare(judged, own.previous, own.temperature, n_bins)
            else:
                own.warnings.append(
                    f"The test documents have no gold annotation for '{judged.name}': it is not "
                    "measured on them."
                )
    for name, calibration in found.items():
        component: Any = nlp.get_pipe(name)
        component.temperature = calibration.temperature
    return Outcome(found, skipped)


def _find_components(
    nlp: Language, names: Sequence[str] | None
) -> tuple[list[str], dict[str, str]]:
    """The components to calibrate in the order of the pipeline, and why others are not."""
    unknown = [name for name in names or () if name not in nlp.pipe_names]
    if unknown:
        raise ValueError(
            f"The pipeline has no component '{unknown[0]}' that runs. It has: "
            f"{', '.join(nlp.pipe_names) or 'none'}."
        )
    wanted = [name for name in nlp.pipe_names if names is None or name in names]
    confident = [name for name in wanted if is_confident(nlp.get_pipe(name))]
    skipped = {
        name: f"a {nlp.get_pipe_meta(name).factory} gives no confidences"
        for name in wanted
        if name not in confident
    }
    return confident, skipped


def _fit(judged: Judged, n_bins: int) -> Calibration:
    """The calibration of a component by what it predicts on dev."""
    name, previous = judged.name, judged.component.temperature
    temperature, warnings = previous, []
    n_judged, n_right = len(judged.right), int(judged.right.sum())
    unchanged = f"its temperature stays {previous:.3g}."
    if n_judged == 0:
        warnings.append(f"'{name}' predicts nothing that can be judged: {unchanged}")
    elif n_right in (0, n_judged):
        which = "right" if n_right else "wrong"
        hint = "" if n_right else " Are its labels those of the gold documents?"
        warnings.append(
            f"All {n_judged:,} predictions of '{name}' are {which}, of which no temperature can be "
            f"learnt: {unchanged}{hint}"
        )
    else:
        temperature = _search(judged, warnings)
        if n_judged < FEW:
            warnings.append(
                f"The temperature of '{name}' is fitted on {n_judged} predictions only."
            )
    return Calibration(
        temperature,
        previous,
        _compare(judged, previous, temperature, n_bins),
        warnings=warnings,
    )


def _search(judged: Judged, warnings: list[str]) -> float:
    """The temperature with the lowest error; says in `warnings` what is wrong with it."""
    name = judged.name
    with tqdm(desc=f"temperature of {name}", disable=None, leave=False) as progress:

        def loss(temperature: float) -> float:
            progress.update()
            return kernel_error(judged.probabilities(temperature), judged.right)

        optimum = best_temperature(loss)
    if optimum.at_edge:
        warnings.append(
            f"The temperature of '{name}', {optimum.temperature:.3g}, is at the edge of the range "
            f"that is searched, {LOW:g} to {HIGH:g}: its scores say little of how often it is "
            "right. Look at the reliability plot."
        )
    if optimum.flat:
        warnings.append(
            f"The confidences of '{name}' do not depend on its temperature, which stays as it is."
        )
        return judged.component.temperature
    return optimum.temperature


def _compare(judged: Judged, previous: float, temperature: float, n_bins: int) -> Comparison:
    before, after = (
        measure(judged.probabilities(value), judged.right, temperature=value, n_bins=n_bins)
        for value in (previous, temperature)
    )
    return Comparison(before, after, int(judged.right.sum()))
