"""What `skd distill` refuses, nearly all of it before the teacher reads, and what it says."""

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_skd.cli.distill import BLOCKS, check_dev

from ..toy import toy_pipeline, write_docs
from .distill_cases import CONFIG, distill, message, with_component


def test_nothing_to_learn_from(folder):
    result = distill(folder, train=None, raw=None)
    assert result.exit_code == 1
    assert "give --train, --raw or both" in message(result)


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("spacy-skd.DistillCorpus.v1", "spacy.Corpus.v1", "read by 'spacy.Corpus.v1'"),
        ("raw = null\ntargets = null\n", "", "[paths] lack raw, targets"),
    ],
)
def test_a_config_that_cannot_distil(folder, old, new, fault):
    config = CONFIG.replace(old, new)
    (folder / "student.cfg").write_text(config)
    result = distill(folder)
    assert result.exit_code == 1
    assert fault in message(result)
    assert BLOCKS in result.output
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "files, fault",
    [
        ({"train": "nowhere.spacy"}, "There is no file or folder"),
        ({"train": "raw.txt"}, "Documents cannot be read from"),
        ({"raw": "nowhere.txt"}, "There is no file or folder"),
        ({"dev": "nowhere.spacy"}, "There is no file or folder"),
        ({"dev": "raw.txt"}, "Documents cannot be read from"),
        ({"dev": None}, "There is nothing to evaluate on"),
    ],
)
@pytest.mark.parametrize("dev_corpus", ["in the config", "by default"])
def test_documents_are_missed_before_the_teacher_reads(folder, files, fault, dev_corpus):
    if dev_corpus == "by default":
        start, end = CONFIG.index("[corpora.dev]"), CONFIG.index("[training]")
        (folder / "student.cfg").write_text(CONFIG[:start] + CONFIG[end:])
    result = distill(folder, **files)
    assert result.exit_code == 1
    assert fault in message(result)
    assert not (folder / "out").exists()


def test_development_documents_of_another_reader(folder):
    config = CONFIG.replace("dev = null", 'dev = "hub:any/corpus"')
    (folder / "student.cfg").write_text(config.replace("spacy.Corpus.v1", "my.Corpus.v1"))
    check_dev(folder / "student.cfg", {})


def test_an_output_that_is_a_file(folder):
    (folder / "out").write_text("")
    result = distill(folder)
    assert result.exit_code == 1
    assert f"The output has to be a folder, but {folder / 'out'} is a file" in message(result)


def test_an_unknown_option_is_named(folder):
    result = distill(folder, "--trian", "gold.spacy")
    assert result.exit_code == 1
    assert "No such option" in result.output and "--trian" in result.output


def test_a_missing_teacher(folder):
    result = distill(folder, teacher="nobody")
    assert result.exit_code == 1
    assert "Can't find model" in result.output and "nobody" in result.output


# --- whether student and teacher fit


def test_a_teacher_of_other_components(folder):
    toy_pipeline(name="entities").to_disk(folder / "teacher")
    result = distill(folder)
    assert result.exit_code == 1
    assert "learns: this has 'ner'. The teacher teaches entities. Give the" in message(result)
    assert not (folder / "out" / "targets").exists()
    result = distill(folder, "--corpora.train.components", '{"ner": ["entities"]}')
    assert result.exit_code == 0, result.output


def test_a_component_that_nobody_teaches(folder):
    (folder / "student.cfg").write_text(with_component("tagger"))
    result = distill(folder)
    assert result.exit_code == 1
    assert "component 'tagger' would learn nothing: no document" in message(result)
    assert "The teacher teaches ner." in message(result)
    assert not (folder / "out" / "targets").exists()
    [*docs] = DocBin().from_disk(folder / "gold.spacy").get_docs(spacy.blank("xx").vocab)
    docs[3][0].tag_ = "X"
    write_docs(folder / "gold.spacy", docs)
    result = distill(folder)
    assert result.exit_code == 0, result.output
    assert "'tagger' learns from annotation alone" in message(result)


@pytest.mark.parametrize(
    "name, fault",
    [
        ("tagger", "No component of the student learns from 'tagger' (--component). It has 'ner'"),
        ("two", "No teacher teaches 'two' (--component). The teacher teaches ner, tagger."),
    ],
)
def test_components_that_do_not_fit(folder, name, fault):
    nlp = toy_pipeline()
    nlp.add_pipe("toy_teacher", name="tagger")
    nlp.to_disk(folder / "teacher")
    both = ("--corpora.train.components", '{"ner": ["ner", "two"]}')
    result = distill(folder, "--component", name, *both)
    assert result.exit_code == 1
    assert fault in message(result).replace(" (learns from ner, two)", "")


def test_a_student_that_cannot_be_taught(folder):
    config = CONFIG.replace("seed = 0", 'seed = 0\nfrozen_components = ["ner"]', 1)
    (folder / "student.cfg").write_text(config)
    result = distill(folder)
    assert result.exit_code == 1 and "No component of the student can be taught" in message(result)
    both = ("--corpora.train.components", '{"nerr": ["ner"]}')
    (folder / "student.cfg").write_text(CONFIG)
    result = distill(folder, *both)
    assert "names nerr, but the components that can be taught are ner" in message(result)


def test_faults_of_training_are_messages(folder):
    """The targets have been written when a fixed label turns out to be missing."""
    labels = folder / "labels.json"
    labels.write_text('["B"]')
    block = "[initialize]\n[initialize.components]\n[initialize.components.ner]\n"
    block += '[initialize.components.ner.labels]\n@readers = "spacy.read_labels.v1"\n'
    (folder / "student.cfg").write_text(f'{CONFIG}\n{block}path = "{labels}"\n')
    result = distill(folder)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output and "A" in message(result)
