"""docs/json.md is held to the code: what documents hold is listed there, and what is listed there occurs in them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from json_documents import Document, Maker
from source_tree import MODULES
from surroundings import environment

from lcstool.choices import LOSS_UNITS

PAGE = Path(__file__).parents[1] / "docs" / "json.md"
#: Objects whose keys are the names of layers, which are no identifiers.
NAMED = {"density", "layers", "screen", "widths"}
#: Objects of any keys: a stage's options, the files it read, and what it found.
FREE = {"history[].config", "history[].inputs", "history[].metrics"}
#: The schemas that the code writes.
SCHEMAS = sorted(
    schema
    for path in MODULES.values()
    for schema in re.findall(r'"(lcstool\.[a-z-]+/\d+)"', path.read_text())
)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, make_npz: Callable[..., Path]) -> list[Document]:
    folder = tmp_path_factory.mktemp("json")
    return Maker(folder, make_npz(folder / "data.npz", side=12, classes=2)).make()


def keys(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All keys within a value, written as the page writes them, and what they hold."""
    if isinstance(value, list):
        for part in value:
            yield from keys(part, path)
    elif isinstance(value, dict) and path not in FREE:
        is_named = path.rpartition(".")[2] in NAMED
        for key, held in value.items():
            assert is_named or key.isidentifier(), f"{path}: {key!r}"
            own = re.sub(f"_({'|'.join(LOSS_UNITS.values())})$", "_nats", key)
            here = f"{path}.{'NAME' if is_named else own}".removeprefix(".") + "[]" * depth(held)
            yield here, held
            yield from keys(held, here)


def depth(value: Any) -> int:
    """How many lists stand within one another."""
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@cache
def sections() -> dict[str, list[tuple[str, str]]]:
    """By the title of a section: the keys of its table, each with its meaning."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^##+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        rows = re.findall(r"^\| (`.*?) \| (.*) \|$", text, flags=re.MULTILINE)
        if rows:
            found[title] = [(key, meaning) for cell, meaning in rows for key in re.findall(r"`(.*?)`", cell)]
    return found


def listed(title: str, path: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """All keys of a section, those that it links to included, each with the section and row that list it."""
    by_anchor = {name.lower().replace(" ", "-"): name for name in sections()}
    for key, meaning in sections()[title]:
        yield path + key, (title, key)
        for anchor in re.findall(r"\]\(#([a-z-]+)\)", meaning):
            yield from listed(by_anchor[anchor], f"{path}{key}.")


def unlisted(document: Document) -> set[str]:
    """The keys of a document that the page does not have; an object is listed by the keys within it."""
    parts = [key.split(".") for key, _ in listed(document["schema"])]
    known = {".".join(own[:stop]).rstrip("[]") for own in parts for stop in range(1, len(own) + 1)}
    return {key for key, _ in keys(document) if key.rstrip("[]") not in known}


def test_every_schema_of_the_code_has_a_section_and_a_document(documents: list[Document]) -> None:
    assert len(SCHEMAS) > 15
    assert [title for title in sorted(sections()) if title.startswith("lcstool.")] == SCHEMAS
    assert sorted({document["schema"] for document in documents}) == SCHEMAS


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_a_document_holds_is_listed(schema: str, documents: list[Document]) -> None:
    for document in documents:
        if document["schema"] == schema:
            assert next(iter(document)) == "schema"
            assert unlisted(document) == set()


def test_what_is_listed_occurs(documents: list[Document]) -> None:
    """And holds something: a key that is always null could not be read about in any other way."""
    seen = {
        (document["schema"], key)
        for document in documents
        for key, held in keys(document)
        if held is not None
    }
    rows = {(title, key) for title, own in sections().items() for key, _ in own}
    met = {row for schema in SCHEMAS for key, row in listed(schema) if (schema, key) in seen}
    assert rows - met == set()
    assert sum(map(len, sections().values())) == len(rows), "a key is listed twice"


def test_a_key_that_is_not_listed_is_found(documents: list[Document]) -> None:
    sizes = next(document for document in documents if document["schema"] == "lcstool.embed-plan/1")
    assert unlisted(sizes | {"layers": [{"name": "a", "new": 1}], "more": None}) == {"layers[].new", "more"}
    with pytest.raises(AssertionError, match="two words"):
        unlisted(sizes | {"two words": 1})


def test_the_commands_of_the_page_read_a_document(documents: list[Document], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(documents[0]))
    commands = re.findall(r"^    (jq|python) (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [program for program, _ in commands] == ["jq", "python"]
    for program, words in commands:
        found = sys.executable if program == "python" else shutil.which(program)
        if found is not None:
            done = subprocess.run(
                ["sh", "-c", f"{found} {words}"],
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                check=True,
            )
            assert float(done.stdout) == documents[0]["epochs"][-1]["test_accuracy_frac"]
