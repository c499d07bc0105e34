"""Where a teacher's pretrained transformer comes from."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def transformer_name(name: str) -> str:
    """The name or folder of a pretrained transformer (`spacy-skd.transformer_name.v1`).

    name: a folder or a hub name, which are returned as they are, or the name of an installed Python
        package that ships a model and tells its folder as `MODEL_DIR`. A folder goes before a
        package of the same name.

    Raises ValueError if a package of that name is installed but ships no model.
    """
    if Path(name).exists() or not name.isidentifier() or find_spec(name) is None:
        return name
    folder = getattr(import_module(name), "MODEL_DIR", None)
    if folder is None:
        raise ValueError(
            f"The installed package '{name}' does not tell the folder of a model (MODEL_DIR). "
            "Give a folder or a hub name as the transformer's name."
        )
    return str(folder)
