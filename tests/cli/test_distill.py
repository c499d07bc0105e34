import json

import numpy as np
import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from typer.testing import CliRunner

from spacy_skd.cli.annotate import annotate
from spacy_skd.cli.distill import BLOCKS, check_dev
from spacy_skd.distill.store import TargetStore
from spacy_skd.distill.targets import collate
from spacy_skd.distill.teachers import fingerprint

from ..toy import files_of, sentences, toy_pipeline, write_docs

CONFIG = """
[paths]
train = null
dev = null
raw = null
targets = null

[nlp]
lang = "xx"
pipeline = ["ner"]

[components]

[components.ner]
factory = "skd_ner"

[components.ner.model]
@architectures = "spacy-skd.LinearChainCRF.v1"

[components.ner.model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 16
depth = 1
embed_size = 200
window_size = 1
maxout_pieces = 2
subword_features = true

[corpora]

[corpora.train]
@readers = "spacy-skd.DistillCorpus.v1"
path = ${paths.train}
raw = ${paths.raw}
targets = ${paths.targets}

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${paths.dev}
gold_preproc = false
max_length = 0
limit = 0
augmenter = null

[training]
seed = 0
gpu_allocator = null
train_corpus = "corpora.train"
dev_corpus = "corpora.dev"
max_steps = 6
eval_frequency = 3

[training.before_to_disk]
@callbacks = "spacy-skd.strip_distillation.v1"

[training.logger]
@loggers = "spacy-skd.DistillLogger.v1"
path = null
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a teacher, gold documents, raw text and a config."""
    nlp = spacy.blank("xx")
    docs = [nlp.make_doc(text) for text in sentences(12, start=100)]
    for doc in docs:
        doc.ents = [Span(doc, len(doc) - 1, len(doc), "A")]
    write_docs(tmp_path / "gold.spacy", docs)
    (tmp_path / "raw.txt").write_text("\n".join(sentences(10)))
    (tmp_path / "student.cfg").write_text(CONFIG)
    toy_pipeline().to_disk(tmp_path / "teacher")
    return tmp_path


def distill(
    folder, *arguments, teacher="teacher", train="gold.spacy", raw="raw.txt", dev="gold.spacy"
):
    command = ["skd", "distill", folder / teacher, folder / "student.cfg"]
    command += ["--output", folder / "out"]
    command += ["--dev", folder / dev] if dev else []
    command += ["--train", folder / train] if train else []
    command += ["--raw", folder / raw] if raw else []
    return CliRunner().invoke(app, [str(word) for word in (*command, *arguments)])


def message(result):
    return " ".join(result.output.split())


@pytest.mark.parametrize("kind", ["token", "chain"])
def test_a_student_comes_out(folder, kind):
    toy_pipeline(kind=kind).to_disk(folder / "teacher")
    result = distill(folder, "--training.max_steps", "4", "--training.logger.path", folder / "log")
    assert result.exit_code == 0, result.output
    assert len(TargetStore(folder / "out" / "targets")) == 22
    student = spacy.load(folder / "out" / "model-best")
    assert student.get_pipe("ner").labels == ("A",)
    assert student.config["training"]["max_steps"] == 4
    assert isinstance(student("An old Volvo")[0:1], Span)
    log = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert [line["step"] for line in log] == [0, 3]
    assert log[1]["losses"]["ner"] > 0
    assert "ents_f" in log[1]["scores"]


def test_what_is_saved_knows_no_path_of_this_machine(folder):
    result = distill(folder)
    assert result.exit_code == 0, result.output
    for name in ("model-best", "model-last"):
        saved = (folder / "out" / name / "config.cfg").read_text()
        assert str(folder) not in saved
        assert 'readers = "spacy.Corpus.v1"' in saved
        assert "DistillCorpus" not in saved


def test_raw_documents_alone(folder):
    labels = folder / "labels.json"
    labels.write_text('["A"]')
    block = f'''
[initialize]

[initialize.components]

[initialize.components.ner]

[initialize.components.ner.labels]
@readers = "spacy.read_labels.v1"
path = "{labels}"
'''
    (folder / "student.cfg").write_text(CONFIG + block)
    result = distill(folder, train=None)
    assert result.exit_code == 0, result.output
    assert spacy.load(folder / "out" / "model-last").get_pipe("ner").labels == ("A",)


def test_streamed(folder):
    result = distill(folder, "--training.max_epochs", "-1")
    assert result.exit_code == 0, result.output


def test_several_raw_files(folder):
    (folder / "more.jsonl").write_text('{"text": "Something else ."}\n')
    result = distill(folder, "--raw", folder / "more.jsonl")
    assert result.exit_code == 0, result.output
    assert len(TargetStore(folder / "out" / "targets")) == 23


def test_components_of_this_package_from_end_to_end(folder):
    nlp = spacy.blank("xx", meta={"name": "teacher"})
    nlp.add_pipe("skd_ner", name="ner")
    gold = list(DocBin().from_disk(folder / "gold.spacy").get_docs(nlp.vocab))
    nlp.initialize(lambda: [Example(nlp.make_doc(doc.text), doc) for doc in gold])
    nlp.to_disk(folder / "teacher")
    result = distill(folder)
    assert result.exit_code == 0, result.output
    store = TargetStore(folder / "out" / "targets")
    assert store.teachers["ner"].labels == ("O", "B-A", "I-A", "L-A", "U-A")
    structure = nlp.get_pipe("ner").predict(gold)
    stored = collate([store.get(doc)["ner"] for doc in gold], structure.emissions)
    expected = structure.marginals().tokens
    np.testing.assert_allclose(stored.marginals().tokens, expected, atol=1e-3)


@pytest.mark.parametrize("given, expected", [((), "teacher"), (("--paths.teacher", "x"), "x")])
def test_a_config_that_starts_from_its_teacher_is_told_it(folder, monkeypatch, given, expected):
    config = CONFIG.replace("targets = null\n", "targets = null\nteacher = null\n", 1)
    (folder / "student.cfg").write_text(config)
    told = []
    monkeypatch.setattr(
        "spacy_skd.cli.distill.train_pipeline",
        lambda *_, overrides, **__: told.append(overrides.get("paths.teacher")),
    )
    result = distill(folder, *given)
    assert result.exit_code == 0, result.output
    assert told == [str(folder / "teacher") if expected == "teacher" else expected]


def test_a_config_that_names_the_teacher_it_starts_from_keeps_it(folder, monkeypatch):
    config = CONFIG.replace("targets = null\n", 'targets = null\nteacher = "other"\n', 1)
    (folder / "student.cfg").write_text(config)
    told = []
    monkeypatch.setattr(
        "spacy_skd.cli.distill.train_pipeline",
        lambda *_, overrides, **__: told.append(overrides),
    )
    result = distill(folder)
    assert result.exit_code == 0, result.output
    assert "paths.teacher" not in told[0]


def test_nothing_to_learn_from(folder):
    result = distill(folder, train=None, raw=None)
    assert result.exit_code == 1
    assert "give --train, --raw or both" in message(result)


def test_a_student_is_replaced_only_by_force(folder):
    (folder / "out" / "model-best").mkdir(parents=True)
    result = distill(folder)
    assert result.exit_code == 1
    assert "holds a trained pipeline already (model-best)" in message(result)
    assert "--force" in result.output
    result = distill(folder, "--force")
    assert result.exit_code == 0, result.output
    assert (folder / "out" / "model-best" / "meta.json").exists()


def test_targets_that_are_there_are_used(folder):
    assert distill(folder).exit_code == 0
    before = files_of(folder / "out" / "targets")
    result = distill(folder, "--force")
    assert result.exit_code == 0, result.output
    assert "0 new documents" in message(result)
    assert files_of(folder / "out" / "targets") == before


def test_targets_of_another_teacher_are_refused(folder):
    annotate(toy_pipeline(), [folder / "raw.txt"], folder / "out" / "targets")
    toy_pipeline(seed=1).to_disk(folder / "teacher")
    result = distill(folder)
    assert result.exit_code == 1
    assert "holds targets of the teacher xx_toy 1.0.0" in message(result)
    assert "--force" in message(result)
    result = distill(folder, "--force")
    assert result.exit_code == 0, result.output
    store = TargetStore(folder / "out" / "targets")
    assert store.teacher == fingerprint(spacy.load(folder / "teacher"))
    assert len(store) == 22


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


def test_development_documents_that_the_config_names(folder):
    config = CONFIG.replace("dev = null", f'dev = "{folder / "gold.spacy"}"')
    (folder / "student.cfg").write_text(config)
    result = distill(folder, dev=None)
    assert result.exit_code == 0, result.output


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


def test_documents_of_zero_tokens_and_whitespace(folder):
    nlp = spacy.blank("xx")
    docs = [Doc(nlp.vocab), Doc(nlp.vocab, words=["\n"], spaces=[False])]
    write_docs(folder / "odd.spacy", docs)
    result = distill(folder, "--raw", folder / "odd.spacy")
    assert result.exit_code == 0, result.output
    assert len(TargetStore(folder / "out" / "targets")) == 23


# --- whether student and teacher fit is known before the teacher reads


def with_component(name, factory="skd_tagger", **settings):
    """The config with one more component in the student."""
    block = f'[components.{name}]\nfactory = "{factory}"\n'
    block += "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    config = CONFIG.replace('pipeline = ["ner"]', f'pipeline = ["ner", "{name}"]')
    return config.replace("[corpora]\n", f"{block}\n[corpora]\n", 1)


def test_only_what_the_student_learns_is_annotated(folder):
    nlp = toy_pipeline()
    nlp.add_pipe("toy_teacher", name="tagger", config={"kind": "token"})
    nlp.to_disk(folder / "teacher")
    result = distill(folder)
    assert result.exit_code == 0, result.output
    assert list(TargetStore(folder / "out" / "targets").teachers) == ["ner"]
    assert "'tagger'" not in message(result)


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
