import subprocess
import sys


def test_structures_import_numpy_alone():
    """What serves a model, or only does mathematics, must not wait for anything else."""
    code = "import sys, spacy_skd.structures; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in found.stdout.split()}
    assert "numpy" in loaded
    assert loaded.isdisjoint({"torch", "thinc", "spacy", "scipy", "cupy"})
