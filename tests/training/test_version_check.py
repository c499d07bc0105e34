import warnings

import pytest
import spacy

from spacy_skd import __version__
from spacy_skd.training import version_check
from spacy_skd.training.callbacks import make_strip_distillation
from spacy_skd.training.version_check import check_version, requirement


@pytest.fixture
def saved(tmp_path):
    nlp = spacy.blank("en", meta={"name": "mine", "version": "1.2.3"})
    make_strip_distillation()(nlp).to_disk(tmp_path)
    return tmp_path


def test_the_requirement_is_a_range_of_this_minor_version():
    minor = ".".join(__version__.split(".")[:2])
    assert requirement().startswith(f"spacy-skd>={minor}.")
    assert f"<{minor.split('.')[0]}.{int(minor.split('.')[1]) + 1}.0" in requirement()


def test_loaded_by_the_version_that_trained_it_nothing_is_said(saved):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spacy.load(saved)


@pytest.mark.parametrize("version", ["0.0.9", "0.2.0", "1.0.0"])
def test_loaded_by_another_version_both_are_named(saved, monkeypatch, version):
    monkeypatch.setattr(version_check, "__version__", version)
    with pytest.warns(UserWarning) as told:
        spacy.load(saved)
    message = " ".join(str(warning.message) for warning in told)
    assert "en_mine 1.2.3 needs spacy-skd<0.2.0,>=0.1.0" in message.replace(">=0.1.0,<0.2.0", "X")
    assert f"spacy-skd {version} is installed" in message


@pytest.mark.parametrize(
    "requirements", [[], ["spacy-skd"], ["spacy-skd-more>=9.0"], ["other>=9.0"], ["spacy_skd>=0.0"]]
)
def test_requirements_that_say_nothing_against_it(requirements):
    nlp = spacy.blank("en", meta={"requirements": requirements})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_version(nlp) is nlp


@pytest.mark.parametrize("name", ["spacy-skd", "spacy_skd", "Spacy-SKD", "spacy-skd[teacher]"])
def test_the_ways_in_which_the_name_is_written(name):
    with pytest.warns(UserWarning, match=r"needs spacy-skd>=9\.0"):
        check_version(spacy.blank("en", meta={"requirements": [f"{name} >=9.0"]}))
