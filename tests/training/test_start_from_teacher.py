"""A compact transformer student starts from layers of its teacher, and is distilled as any other.

Runs on the CPU and, where there is a GPU, there too.
"""

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.cli.train import train as train_pipeline
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import load_config, load_model_from_config
from thinc.api import to_numpy, use_ops

torch = pytest.importorskip("torch")
pytest.importorskip("spacy_transformers")

from spacy_skd.cli.annotate import annotate  # noqa: E402
from spacy_skd.training.start_from_teacher import make_start_from_teacher  # noqa: E402

from ..conftest import cupy_or_skip  # noqa: E402
from ..pipeline.tiny import ENTITIES, TOK2VEC, blank, entity_examples, predictions, train  # noqa: E402
from ..tiny_transformer import N_LAYERS, write_transformer  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs"
TEXTS = [text for text, _ in ENTITIES]
GOLD = [entities for _, entities in ENTITIES]
LEARN_RATE = 0.005


@pytest.fixture(params=["numpy", "cupy"])
def device(request):
    """The CPU, and a GPU where cupy and torch have one."""
    if request.param == "cupy":
        cupy_or_skip()
        if not torch.cuda.is_available():
            pytest.skip("torch has no GPU")
    with use_ops(request.param):
        yield request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tiny pretrained transformer, a teacher that it was fine-tuned to, documents,
    and the teacher's targets for raw text."""
    folder = tmp_path_factory.mktemp("compact")
    name = write_transformer(folder / "pretrained")
    config = load_config(
        CONFIGS / "teacher.cfg", overrides={"transformer.name": name}, interpolate=True
    )
    nlp = load_model_from_config(config, auto_fill=True)
    examples = entity_examples(nlp)
    train(nlp, examples, steps=60, learn_rate=LEARN_RATE)
    assert predictions(nlp) == GOLD
    nlp.to_disk(folder / "teacher")
    DocBin(docs=[example.reference for example in examples]).to_disk(folder / "gold.spacy")
    (folder / "raw.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf8")
    annotate(nlp, [folder / "raw.txt"], folder / "targets")
    return folder


def student(folder: Path, overrides: dict | None = None, **start) -> Language:
    """A student that is not initialised yet; the transformer's own name leads nowhere."""
    settings = {
        "paths.teacher": str(folder / "teacher"),
        "transformer.name": "/nowhere/at/all",
        **{f"initialize.before_init.{key}": value for key, value in start.items()},
        **(overrides or {}),
    }
    config = load_config(CONFIGS / "student_gpu.cfg", overrides=settings, interpolate=True)
    return load_model_from_config(config, auto_fill=True)


def initialized(nlp: Language) -> Language:
    examples = entity_examples(nlp)
    nlp.initialize(lambda: examples)
    return nlp


def transformer(nlp: Language):
    return nlp.get_pipe("transformer").model.transformer


def check_layers(nlp: Language, source, layers: list[int]) -> None:
    """Every weight of the student is the source's, layer by layer."""
    theirs, ours = source.state_dict(), transformer(nlp).state_dict()
    assert transformer(nlp).config.num_hidden_layers == len(layers)
    for name, weight in ours.items():
        for number, taken in enumerate(layers):
            if name.startswith(f"encoder.layer.{number}."):
                name = name.replace(f".{number}.", f".{taken}.", 1)
                break
        assert torch.equal(weight.cpu(), theirs[name].cpu()), name


@pytest.mark.parametrize("layers, expected", [(None, [0, 2, 4]), ([0, 1, 5], [0, 1, 5])])
def test_it_starts_with_layers_of_the_fine_tuned_teacher(folder, layers, expected, device):
    nlp = initialized(student(folder, layers=layers))
    teacher = spacy.load(folder / "teacher")
    check_layers(nlp, transformer(teacher), expected)
    assert next(transformer(nlp).parameters()).is_cuda == (device == "cupy")
    texts = [nlp.get_pipe("transformer").model.tokenizer(text)["input_ids"] for text in TEXTS]
    read = teacher.get_pipe("transformer").model.tokenizer
    assert texts == [read(text)["input_ids"] for text in TEXTS]


def test_without_a_teacher_it_starts_with_the_first_pretrained_layers(folder):
    from transformers import AutoModel

    nlp = student(folder, {"transformer.name": str(folder / "pretrained")}, teacher=None)
    check_layers(initialized(nlp), AutoModel.from_pretrained(folder / "pretrained"), [0, 1, 2])


def test_the_transformer_of_a_teacher_may_be_in_a_component(folder, tmp_path):
    teacher = spacy.load(folder / "teacher")
    teacher.replace_listeners("transformer", "ner", ["model.tok2vec"])
    teacher.remove_pipe("transformer")
    teacher.to_disk(tmp_path)
    nlp = initialized(student(folder, teacher=str(tmp_path)))
    check_layers(nlp, transformer(spacy.load(folder / "teacher")), [0, 2, 4])


def test_initialized_again_it_keeps_its_weights(folder):
    nlp = initialized(student(folder))
    with torch.no_grad():
        for weight in transformer(nlp).parameters():
            weight.zero_()
    initialized(nlp)
    assert not any(weight.any() for weight in transformer(nlp).parameters())


def test_it_learns_from_its_teacher_is_saved_and_loaded(folder, tmp_path, device):
    """Distilled by `spacy train` from raw text alone; nothing points back at the teacher."""
    paths = {"raw": "raw.txt", "targets": "targets", "dev": "gold.spacy"}
    settings = {
        **{f"paths.{key}": str(folder / name) for key, name in paths.items()},
        "paths.teacher": str(folder / "teacher"),
        "transformer.name": "/nowhere/at/all",
        "training.max_steps": 40,
        "training.eval_frequency": 20,
        "training.dropout": 0.0,
        "training.optimizer.learn_rate": LEARN_RATE,
    }
    gpu = 0 if device == "cupy" else -1
    train_pipeline(CONFIGS / "student_gpu.cfg", tmp_path, use_gpu=gpu, overrides=settings)
    nlp = spacy.load(tmp_path / "model-best")
    assert predictions(nlp) == GOLD
    assert transformer(nlp).config.num_hidden_layers == 3
    saved = (tmp_path / "model-best" / "config.cfg").read_text(encoding="utf8")
    assert str(folder) not in saved
    assert nlp.config["paths"]["teacher"] is None
    structures = [nlp.get_pipe("ner").predict(list(nlp.pipe(TEXTS)))]
    nlp.to_disk(tmp_path / "again")
    again = spacy.load(tmp_path / "again")
    assert predictions(again) == GOLD
    structures.append(again.get_pipe("ner").predict(list(again.pipe(TEXTS))))
    ours, theirs = (structure.marginals().tokens for structure in structures)
    np.testing.assert_allclose(to_numpy(ours), to_numpy(theirs), atol=1e-6)


def test_it_learns_faster_from_layers_that_the_teacher_has_tuned(folder):
    """That is what they are for: fewer nats after the same few steps."""
    losses = {}
    for name in ("teacher", None):
        start = {} if name else {"teacher": None}
        nlp = student(folder, {"transformer.name": str(folder / "pretrained")}, **start)
        losses[name] = train(nlp, entity_examples(nlp), steps=8, learn_rate=0.001)
    assert losses["teacher"] < losses[None]


@pytest.mark.parametrize(
    "start, message",
    [
        ({"layers": [0, 1, N_LAYERS]}, r"\[0, 1, 6\] cannot be taken .* numbers from 0 to 5"),
        ({"layers": [0, 5]}, r"\[0, 5\] are 2, but num_hidden_layers of the student is 3"),
        ({"component": "ner"}, "in the teacher .* Its component 'ner' has none"),
        ({"component": "tok2vec"}, "Its component 'tok2vec' has none, or there is no such"),
    ],
)
def test_what_does_not_fit_the_teacher(folder, start, message):
    with pytest.raises(ValueError, match=message):
        initialized(student(folder, **start))


def test_more_layers_than_the_teacher_has(folder):
    size = {"components.transformer.model.transformer_config.num_hidden_layers": 7}
    with pytest.raises(ValueError, match="student is 7, but the teacher's transformer has 6"):
        initialized(student(folder, size))


def test_a_teacher_without_a_transformer(folder, tmp_path):
    blank().to_disk(tmp_path)
    with pytest.raises(ValueError, match=r"in the teacher .*components are: ner\."):
        initialized(student(folder, teacher=str(tmp_path)))


def test_a_teacher_that_is_not_there(folder):
    with pytest.raises(FileNotFoundError, match=r"'nowhere' of \[initialize.before_init\] cannot"):
        initialized(student(folder, teacher="nowhere"))


def test_a_teacher_with_several_transformers(folder, tmp_path):
    teacher = spacy.load(folder / "teacher")
    teacher.replace_listeners("transformer", "ner", ["model.tok2vec"])
    teacher.to_disk(tmp_path)
    with pytest.raises(ValueError, match="Several of its components have one: transformer, ner"):
        initialized(student(folder, teacher=str(tmp_path)))
    nlp = initialized(student(folder, teacher=str(tmp_path), component="ner"))
    check_layers(nlp, transformer(spacy.load(folder / "teacher")), [0, 2, 4])


def test_a_student_without_a_transformer(folder):
    nlp = spacy.blank("en")
    nlp.add_pipe("skd_ner", config={"model": {"tok2vec": TOK2VEC}})
    with pytest.raises(ValueError, match=r"in the student\. Its components are: skd_ner\."):
        make_start_from_teacher(str(folder / "teacher"))(nlp)
