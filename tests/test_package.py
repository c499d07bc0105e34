"""The package as it is installed: every registered name, and life without torch."""

import ast
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import spacy
from spacy.language import Language
from spacy.util import registry

import spacy_skd

try:
    import tomllib
except ImportError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
ENTRY_POINTS = [
    (group, name, target)
    for group, members in PROJECT["entry-points"].items()
    for name, target in members.items()
]
REGISTRIES = {
    "spacy_architectures": "architectures",
    "spacy_misc": "misc",
    "thinc_losses": "losses",
    "thinc_optimizers": "optimizers",
    "spacy_readers": "readers",
    "spacy_scorers": "scorers",
    "spacy_loggers": "loggers",
    "spacy_callbacks": "callbacks",
}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "spacy_skd").rglob("*.py")
)
HEAVY = {"torch", "transformers", "spacy_transformers", "cupy"}


def resolve(target: str):
    module, _, name = target.partition(":")
    __import__(module)
    return getattr(sys.modules[module], name)


@pytest.mark.parametrize("group, name, target", ENTRY_POINTS, ids=lambda value: str(value))
def test_registered_names(group, name, target):
    expected = resolve(target)
    if group == "spacy_factories":
        assert Language.has_factory(name)
        assert spacy.blank("en").get_factory_meta(name).factory == name
    elif group == "spacy_cli":
        from spacy.cli._util import app

        registry.cli.get_all()  # as `python -m spacy` does
        assert name in [command.name for command in app.registered_groups] or name in [
            group.typer_instance.info.name for group in app.registered_groups
        ]
    else:
        assert getattr(registry, REGISTRIES[group]).get(name) is expected
        assert registry.has(REGISTRIES[group], name)


def test_every_name_of_the_package_is_versioned():
    for group, name, _ in ENTRY_POINTS:
        if group in REGISTRIES:
            package, _, version = name.split(".")
            assert package == "spacy-skd" and version[0] == "v" and version[1:].isdigit()


def test_the_version_is_that_of_the_project():
    assert spacy_skd.__version__ == PROJECT["version"]


@pytest.mark.parametrize("name", MODULES)
def test_no_module_imports_torch_at_its_top(name):
    """Not even behind a try: what is imported with the module costs every pipeline its start."""
    path = ROOT / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf8"))]
    imported = set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])
        pending += [
            child for child in ast.iter_child_nodes(node) if not isinstance(child, functions)
        ]
    assert not imported & HEAVY


def run(code: str, *args: str) -> subprocess.CompletedProcess:
    """Run code in a process of its own, as if nothing of torch were installed."""
    block = f"""
        import importlib.metadata as metadata
        import sys

        installed = metadata.distributions
        metadata.distributions = lambda **context: (
            found for found in installed(**context) if found.name.replace("-", "_") not in {HEAVY!r}
        )

        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {HEAVY!r}:
                    raise ImportError(f"{{name}} is blocked")

        sys.meta_path.insert(0, Block())
        """
    return subprocess.run(
        [sys.executable, "-c", dedent(block) + dedent(code), *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


def test_a_student_is_served_without_torch(tmp_path):
    """Every module is imported, a saved pipeline loaded and run where torch cannot be imported."""
    nlp = spacy.blank("en")
    tok2vec = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 16,
        "depth": 1,
        "embed_size": 50,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
    }
    for factory, kind, label in (
        ("skd_ner", "LinearChainCRF", "PER"),
        ("skd_tagger", "MaxEnt", "NNP"),
    ):
        model = {"@architectures": f"spacy-skd.{kind}.v1", "tok2vec": tok2vec}
        nlp.add_pipe(factory, config={"model": model}).add_label(label)
    for name, kind, label in (
        ("arcs", "BiaffineParser", "nsubj"),
        ("labels", "LabelParser", "+1|nsubj"),
    ):
        encoder = {"@architectures": "spacy-skd.HashEmbedRecurrent.v1", "width": 16}
        model = {"@architectures": f"spacy-skd.{kind}.v1", "tok2vec": encoder}
        nlp.add_pipe("skd_parser", name=name, config={"model": model}).add_label(label)
    nlp.initialize()
    nlp.to_disk(tmp_path)
    code = """
        import importlib

        for name in sys.argv[2:]:
            importlib.import_module(name)
        import spacy

        doc = spacy.load(sys.argv[1])("Ada lives in Oslo")
        assert doc.has_annotation("ENT_IOB") and doc[0].tag_ == "NNP" and doc[0].dep_ == "nsubj"
        assert not {"torch", "transformers", "spacy_transformers"} & set(sys.modules)
        print("served")
        """
    done = run(code, str(tmp_path), *MODULES)
    assert done.stdout.strip() == "served", done.stderr


def test_the_package_itself_imports_nothing():
    done = run("import spacy_skd; print([m for m in ('spacy', 'numpy') if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr
