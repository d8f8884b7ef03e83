"""The figures and tables made so far of each paper: what recipe.py wrote, in the order of the Makefiles."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import EXAMPLES, targets
from contents import Reference, contents, papers

SCALES = {
    "demo": "built-in data, two cores, a minute or two a figure",
    "small": "small networks and images, a CPU, under an hour a figure",
    "paper": "the papers' own settings, a GPU",
}
_FIELDS = {
    "target", "source", "title", "scale", "dataset", "note", "panels", "claims", "rows", "figures", "inputs"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What there is of one paper: the documents that recipe.py wrote, in its Makefile's order, and what is missing."""

    folder: str
    made: list[dict[str, Any]]
    missing: list[str]
    scale: str
    dataset: str

    @property
    def name(self) -> str:
        return contents(EXAMPLES / self.folder).name if _is_known(self.folder) else self.folder

    @property
    def references(self) -> tuple[Reference, ...]:
        return contents(EXAMPLES / self.folder).references if _is_known(self.folder) else ()


def _is_known(folder: str) -> bool:
    return (EXAMPLES / folder / "paper.yaml").is_file()


def read(out: Path) -> list[Paper]:
    """All papers of a folder of results, those without any too."""
    found = {folder.name: _documents(folder) for folder in sorted(out.iterdir()) if folder.is_dir()}
    found = {folder: documents for folder, documents in found.items() if documents}
    known = [folder for folder in papers() if folder in found or (EXAMPLES / folder / "Makefile").is_file()]
    every = [document for documents in found.values() for document in documents.values()]
    looks = []
    for folder in [*known, *(folder for folder in found if folder not in known)]:
        documents = found.get(folder, {})
        scale, dataset = _setting([*documents.values(), *every], out)
        listed = targets(folder, scale, dataset)
        order = [target for target in listed if target in documents]
        order += sorted(target for target in documents if target not in listed)
        missing = [target for target in listed if target not in documents]
        looks.append(
            Paper(
                folder=folder,
                made=[documents[target] for target in order],
                missing=missing,
                scale=scale,
                dataset=dataset,
            )
        )
    return looks


def _documents(folder: Path) -> dict[str, dict[str, Any]]:
    """What recipes wrote; stages' own results lie beside them."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            print(f"report: {path} is left out: {error}", file=sys.stderr)
            continue
        if isinstance(document, dict) and document.keys() >= _FIELDS and document["target"] == path.stem:
            found[path.stem] = document
    return found


def _setting(documents: list[dict[str, Any]], out: Path) -> tuple[str, str]:
    if documents:
        return documents[0]["scale"], documents[0]["dataset"]
    scale = out.name if out.name in SCALES else "demo"
    return scale, "leaves" if scale == "demo" else "cifar10"
