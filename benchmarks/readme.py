"""Copy the tables of benchmarks/results/ into README and docs, between their markers.

project.md and project.json there are the metrics/table.* of a `spacy project run all`.

python benchmarks/readme.py
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGES = [HERE.parent / "README.md", *sorted((HERE.parent / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """The text of a page with the tables as they are now."""

    def table(match: re.Match[str]) -> str:
        path = HERE / "results" / match[2]
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: run its benchmark first.")
        return f"{match[1]}\n{path.read_text(encoding='utf-8').strip()}\n\n{match[3]}"

    return BLOCK.sub(table, text)


if __name__ == "__main__":
    main()
