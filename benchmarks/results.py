"""Make RESULTS.md from what the benchmarks wrote: the machine, every target and whether it was met, and the tables.

python results.py out   reads out/DEVICE/NAME.json and NAME.md
"""

import ast
import json
import sys
from pathlib import Path
from typing import Any


def shown_machine(machine: dict[str, Any]) -> str:
    parts = [machine["cpu"], f"{machine['cores']} cores", f"{machine['memory_gib']} GiB"]
    parts += [machine["gpu"]] if machine["gpu"] else []
    return ", ".join(map(str, parts)) + f"; Python {machine['python']}, torch {machine['torch']}"


def shown_target(target: dict[str, Any]) -> str:
    sign = "<=" if target["at_most"] else ">="
    met = "yes" if target["met"] else f"no: {target['why'] or 'not explained yet'}"
    reached = f"{sign} {target['accept']:g}x | {target['ratio']:.3g}x"
    return f"| {target['quantity']} | {target['against']} | {reached} | {met} |"


def purpose(script: Path) -> str:
    """The first paragraph of what a benchmark says about itself, and the others but for its command line."""
    paragraphs = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split("\n\n")
    return "\n\n".join(text for text in paragraphs if not text.strip().startswith("python "))


def main(folder: Path) -> None:
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*.json"))}
    if not found:
        sys.exit(f"{folder}: no benchmark has left its numbers here; run make")
    print("# What the benchmarks found\n")
    print(
        "Written by `make -C benchmarks all`. Times are wall and CPU, least / median / greatest of interleaved"
    )
    print("rounds; ratios are of the least times. A benchmark fails where its ways disagree.\n")
    for device in sorted({path.parent.name for path in found}):
        here = {path: document for path, document in found.items() if path.parent.name == device}
        machines = sorted({shown_machine(document["machine"]) for document in here.values()})
        print(f"- `{device}`: {'; and '.join(machines)}")
    print("\n## Targets\n\n| quantity | against | to reach | reached | met |\n|---|---|---|---|---|")
    for path, document in found.items():
        for target in document["targets"]:
            device = "" if path.parent.name == "cpu" else f" ({path.parent.name})"
            print(shown_target(target | {"quantity": target["quantity"] + device}))
    for path in found:
        print(f"\n## {path.stem.replace('_', ' ')}, {path.parent.name}\n")
        print(purpose(Path(__file__).with_name(f"{path.stem}.py")) + "\n")
        print(path.with_suffix(".md").read_text(encoding="utf-8").replace("\n## ", "\n### ").strip())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
