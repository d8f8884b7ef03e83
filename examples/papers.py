"""The papers, and the figures and tables made so far of each: what recipe.py wrote, in the order of the Makefiles."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import EXAMPLES, targets

SCALES = {
    "demo": "built-in data, two cores, a minute or two a figure",
    "small": "small networks and images, a CPU, under an hour a figure",
    "paper": "the papers' own settings, a GPU",
}
# Folder: name, and the full references with what arXiv calls them.
PAPERS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "n20": (
        "Neyshabur 2020",
        (("B. Neyshabur, “Towards Learning Convolutions from Scratch”, Advances in Neural Information "
          "Processing Systems 33, 2020.", "2007.13657"),),
    ),
    "da19": (
        "d’Ascoli, Sagun, Bruna & Biroli 2019",
        (("S. d’Ascoli, L. Sagun, J. Bruna, G. Biroli, “Finding the Needle in the Haystack with "
          "Convolutions: on the benefits of architectural bias”, Advances in Neural Information Processing Systems 32, "
          "2019.", "1906.06766"),),
    ),
    "cw": (
        "Chowers & Weiss 2023",
        (("R. Chowers, Y. Weiss, “What do CNNs Learn in the First Layer and Why? A Linear Systems "
          "Perspective”, International Conference on Machine Learning, 2023.", "2206.02454"),),
    ),
    "k21": (
        "Kohn, Merkh, Montúfar & Trager 2022",
        (("K. Kohn, T. Merkh, G. Montúfar, M. Trager, “Geometry of Linear Convolutional Networks”, SIAM "
          "Journal on Applied Algebra and Geometry 6(3), 368–406, 2022.", "2108.01538"),
         ("K23: K. Kohn, G. Montúfar, V. Shahverdi, M. Trager, “Function Space and Critical Points of "
          "Linear Convolutional Networks”, SIAM Journal on Applied Algebra and Geometry 8(2), 2024.", "2304.05752")),
    ),
}  # fmt: skip
_FIELDS = {"target", "source", "title", "scale", "dataset", "note", "rows", "figures", "inputs"}


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
        return PAPERS[self.folder][0] if self.folder in PAPERS else self.folder


def read(out: Path) -> list[Paper]:
    """All papers of a folder of results, those without any too."""
    found = {folder.name: _documents(folder) for folder in sorted(out.iterdir()) if folder.is_dir()}
    found = {folder: documents for folder, documents in found.items() if documents}
    known = [folder for folder in PAPERS if folder in found or (EXAMPLES / folder / "Makefile").is_file()]
    every = [document for documents in found.values() for document in documents.values()]
    papers = []
    for folder in [*known, *(folder for folder in found if folder not in PAPERS)]:
        documents = found.get(folder, {})
        scale, dataset = _setting([*documents.values(), *every], out)
        listed = targets(folder, scale, dataset)
        order = [target for target in listed if target in documents]
        order += sorted(target for target in documents if target not in listed)
        missing = [target for target in listed if target not in documents]
        papers.append(
            Paper(
                folder=folder,
                made=[documents[target] for target in order],
                missing=missing,
                scale=scale,
                dataset=dataset,
            )
        )
    return papers


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
