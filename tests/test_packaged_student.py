"""A distilled student as `spacy package` packages it: what it tells of where it comes from, and
what it predicts from its wheel in an environment without torch."""

import json
import os
import shutil
import subprocess
import sys
import venv
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from spacy.util import load_config
from typer.testing import CliRunner

import spacy_skd
from spacy_skd.distill.teachers import fingerprint
from spacy_skd.training.version_check import requirement

from .pipeline.test_whole_pipeline import (
    CONFIG,
    LEARN_RATE,
    TEXTS,
    TINY,
    blank_pipeline,
    examples,
    whole_docs,
)
from .pipeline.tiny import train

ROOT = Path(__file__).parents[1]
NAME = "en_tiny_student"
HEAVY = ("torch", "transformers", "spacy_transformers", "cupy")
ATTRIBUTES = ("ENT_IOB", "ENT_TYPE", "HEAD", "DEP", "SENT_START", "TAG", "POS", "MORPH")
SLOW = ("compile", "exec", "import", "open", "ctypes.dlopen", "subprocess.Popen", "os.posix_spawn")
"""Events of Python's that the first call must not cause."""
# Run in the bare environment: prints the annotation of the texts as hexadecimal digits.
SERVE = f"""
import sys
from importlib.util import find_spec

assert not [name for name in {HEAVY!r} if find_spec(name)]
import spacy

# spaCy itself requires weasel and imports it with its command line: it cannot be absent, but a
# student asks for no more of it than spaCy does.
of_spacy = [name for name in sys.modules if name.partition(".")[0] == "weasel"]
nlp = spacy.load(sys.argv[1])

# The first call loads nothing, compiles nothing and starts no process.
slow, seen, watching = {SLOW!r}, [], True
sys.addaudithook(lambda event, _: watching and event in slow and seen.append(event))
nlp(sys.argv[2])
watching = False
assert not seen, seen

for doc in nlp.pipe(sys.argv[2:]):
    print(doc.to_array({ATTRIBUTES!r}).tobytes().hex())
assert of_spacy == [name for name in sys.modules if name.partition(".")[0] == "weasel"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a teacher, the student that `skd distill` makes, and its package, unbuilt."""
    folder = tmp_path_factory.mktemp("secret")
    nlp = blank_pipeline()
    nlp.meta["name"] = "tiny_teacher"
    train(nlp, examples(whole_docs(nlp)), steps=100, learn_rate=LEARN_RATE)
    nlp.to_disk(folder / "teacher")
    DocBin(docs=whole_docs(nlp)).to_disk(folder / "gold.spacy")
    (folder / "raw.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf8")
    settings = {
        **TINY,
        "training.max_steps": 100,
        "training.before_to_disk.data": "Ships and towns",
        "training.before_to_disk.license": "CC BY 4.0",
    }
    command = ["skd", "distill", "teacher", str(CONFIG), "--output", "student"]
    command += ["--train", "gold.spacy", "--raw", "raw.txt", "--dev", "gold.spacy"]
    for name, value in settings.items():
        command += [f"--{name}", json.dumps(value) if not isinstance(value, str) else value]
    # paths as whole as they can be, as a scheduler of jobs would give them
    names = ("teacher", "student", "gold.spacy", "raw.txt")
    command = [str(folder / word) if word in names else word for word in command]
    invoke(command)
    (folder / "packages").mkdir()
    invoke(package(folder, "none"))
    return folder


def package(folder: Path, build: str) -> list[str]:
    """The command that packages the student."""
    command = ["package", str(folder / "student" / "model-best"), str(folder / "packages")]
    name = NAME.removeprefix("en_")
    return [*command, "--name", name, "--version", "1.0.0", "--build", build, "--force"]


def invoke(command: list[str]) -> None:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output


def data_of(packaged: Path) -> Path:
    """The pipeline's folder in a package's, whose name is the package's and its version."""
    return packaged / packaged.name.rpartition("-")[0] / packaged.name


def annotation(nlp, texts) -> list[str]:
    return [doc.to_array(ATTRIBUTES).tobytes().hex() for doc in nlp.pipe(texts)]


def test_no_file_of_the_package_knows_a_path_of_this_machine(folder):
    files = [path for path in (folder / "packages").rglob("*") if path.is_file()]
    assert {"config.cfg", "meta.json", "model", "cfg", "README.md"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        for path in (folder, ROOT, Path(sys.prefix)):
            assert bytes(path) not in content, f"{path} is in {file}"


def test_the_config_of_the_package_knows_no_teacher(folder):
    (saved,) = (folder / "packages").rglob("config.cfg")
    text = saved.read_text(encoding="utf8")
    config = load_config(saved)
    assert "tiny_teacher" not in text and "DistillCorpus" not in text
    assert not any(config["paths"].values())
    # what is left can be trained on
    assert config["components"]["ner"]["objective"]["@losses"] == "spacy-skd.StructuralKD.v1"


def test_the_meta_of_the_package_says_where_it_comes_from(folder):
    packaged = folder / "packages" / f"{NAME}-1.0.0"
    meta = json.loads((packaged / "meta.json").read_text(encoding="utf8"))
    teacher = fingerprint(spacy.load(folder / "teacher"))
    assert meta["distillation"] == {
        "teachers": [{"name": "en_tiny_teacher", "version": "0.0.0", "hash": teacher.hash}],
        "gold": ["gold.spacy"],
        "raw": ["raw.txt"],
    }
    assert meta["sources"] == [{"name": "Ships and towns"}]
    assert meta["license"] == "CC BY 4.0"
    assert {"ents_f", "dep_las", "tag_acc", "pos_acc", "morph_acc"} <= meta["performance"].keys()
    assert meta["requirements"].count(requirement()) == 1
    assert sum(entry.startswith("spacy-skd") for entry in meta["requirements"]) == 1
    readme = (packaged / "README.md").read_text(encoding="utf8")
    for text in ("Ships and towns", "CC BY 4.0", f"Distilled from {teacher}"):
        assert text in readme


def test_the_package_can_be_loaded_from_its_folder(folder):
    student = spacy.load(folder / "student" / "model-best")
    packaged = spacy.load(data_of(folder / "packages" / f"{NAME}-1.0.0"))
    assert annotation(packaged, TEXTS) == annotation(student, TEXTS)
    assert packaged.meta["distillation"] == student.meta["distillation"]


# --- in a bare environment


def pip(python: Path, *arguments: str | Path) -> None:
    """Run pip; skips the test where there is no index of packages, unless this is the project's
    continuous integration."""
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode and not os.environ.get("CI"):
        lines = done.stderr.strip().splitlines() or ["no message"]
        pytest.skip(f"pip {arguments[0]} failed: {lines[-1]}")
    assert not done.returncode, done.stderr


@pytest.fixture(scope="module")
def wheels(folder):
    """Wheels of students by names: of the one made here, and, if SPACY_SKD_PROJECT names a folder
    in which project.yml has been run, of those that its workflows packaged."""
    pip(Path(sys.executable), "download", "--no-deps", "--dest", folder / "reached", "catalogue")
    invoke(package(folder, "wheel"))
    places = [folder, *map(Path, filter(None, [os.environ.get("SPACY_SKD_PROJECT")]))]
    found = [wheel for place in places for wheel in place.glob("packages/*/dist/*.whl")]
    return {wheel.parents[1].name.rpartition("-")[0]: wheel for wheel in found}


@pytest.fixture(scope="module")
def bare(wheels, tmp_path_factory):
    """Python of an environment with the students, the core of this package, and what they need."""
    folder = tmp_path_factory.mktemp("bare")
    source = folder / "source"  # setuptools leaves a folder build/ beside what it builds
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "spacy_skd", source / "spacy_skd", ignore=shutil.ignore_patterns("__pycache__")
    )
    pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", folder, source)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    (core,) = folder.glob("*.whl")
    pip(python, "install", "--constraint", ROOT / "constraints.txt", core, *wheels.values())
    return python


@pytest.mark.slow
def test_the_wheel_says_what_it_needs(wheels):
    for wheel in wheels.values():
        with ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
            metadata = Parser().parsestr(archive.read(name).decode("utf8"))
        needed = {entry.replace(" ", "") for entry in metadata.get_all("Requires-Dist")}
        ours = [entry for entry in needed if entry.startswith("spacy-skd")]
        assert [sorted(entry.removeprefix("spacy-skd").split(",")) for entry in ours] == [
            sorted(requirement().removeprefix("spacy-skd").split(","))
        ]
        others = {entry.partition(">")[0].partition("<")[0] for entry in needed} - {"spacy-skd"}
        assert others == {"spacy"}


@pytest.mark.slow
def test_installed_in_a_bare_environment_it_predicts_the_same(wheels, bare, tmp_path):
    for name, wheel in wheels.items():
        nlp = spacy.load(data_of(wheel.parents[1]))
        expected = annotation(nlp, TEXTS)
        # -I: neither the working directory nor PYTHONPATH offers what is not installed
        done = subprocess.run(
            [str(bare), "-I", "-c", SERVE, name, *TEXTS],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == expected, name
    whole = spacy.load(folder_of(wheels, NAME))
    assert any(doc.ents for doc in whole.pipe(TEXTS))
    assert any(token.head.i != token.i for doc in whole.pipe(TEXTS) for token in doc)


def folder_of(wheels: dict[str, Path], name: str) -> Path:
    return data_of(wheels[name].parents[1])


@pytest.mark.slow
def test_the_core_requires_nothing_of_teachers_and_projects(bare):
    code = "import importlib.metadata as m; print(*m.requires('spacy-skd'), sep='\\n')"
    done = subprocess.run([str(bare), "-I", "-c", code], capture_output=True, text=True, check=True)
    core = [entry for entry in done.stdout.splitlines() if "extra ==" not in entry]
    assert core and not [e for e in core for name in (*HEAVY, "weasel") if e.startswith(name)]
    listed = [str(bare), "-I", "-c", "import spacy_skd; print(spacy_skd.__version__)"]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == spacy_skd.__version__
