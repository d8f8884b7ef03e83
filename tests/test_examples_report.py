"""The page of all recipes: whole, escaped, without the network, and honest about what is missing."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from web_page import Page, png

EXAMPLES = Path(__file__).parents[1] / "examples"
NASTY = "<b>&\"'"
MAKEFILE = """\
PAPER   := n20
TARGETS := fig1 fig2 table1
include ../recipe.mk
$(OUT)/net-%.safetensors: | $(OUT)
	$(LCSTOOL) train --dataset $(DATASET) --seed $* -q -o $@ --resume
$(OUT)/net-%.json: $(OUT)/net-%.safetensors
	$(LCSTOOL) info $< --json $(into)
$(OUT)/fig1.json: figures.py $(OUT)/net-0.json $(OUT)/net-0.safetensors | $(OUT)
	$(draw)
$(OUT)/fig2.json: figures.py $(OUT)/net-0.json $(OUT)/net-1.json | $(OUT)
	$(draw)
$(OUT)/table1.json: figures.py | $(OUT)
	$(draw)
"""
PAPER = """\
name: Neyshabur 2020
references:
  - {text: "B. Neyshabur, 2020.", arxiv: "2007.13657"}
targets:
  fig1: {source: Fig. 1, title: One}
  fig2: {source: Fig. 2, title: Two}
  table1: {source: Table 1, title: Three}
"""
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the machinery with one small paper."""
    folder = tmp_path / "examples"
    (folder / "n20").mkdir(parents=True)
    for path in EXAMPLES.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    (folder / "n20" / "Makefile").write_text(MAKEFILE)
    (folder / "n20" / "figures.py").write_text("")
    (folder / "n20" / "paper.yaml").write_text(PAPER)
    return folder


def write(folder: Path, target: str, **changed: object) -> None:
    """As recipe.py does, with a figure of 300x200 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {
        "what": f"accuracy {NASTY}",
        "paper": 85.19,
        "ours": NASTY,
        "unit": "%",
        "remark": f"remark {NASTY}",
        "place": f"Table {NASTY}",
    }
    claim = {
        "claim": "wide",
        "text": f"claim {NASTY}",
        "place": "section 3",
        "verdict": "holds",
        "measured": NASTY,
    }
    panels = [
        {"panel": "left", "what": f"left panel {NASTY}", "missing": None},
        {"panel": "right", "what": f"panel {NASTY}", "missing": "needs SVHN=npz:FILE"},
    ]
    document: dict[str, object] = {
        "target": target, "source": "N20 Fig. 2", "title": f"Title {NASTY}", "scale": "demo", "dataset": "leaves",
        "note": f"Note {NASTY}", "numbers": {}, "rows": [row], "claims": [claim], "panels": panels,
        "figures": [f"{target}.png", f"{target}.pdf"], "inputs": ["net-0.json", "gone.json"],
    }  # fmt: skip
    (folder / f"{target}.png").write_bytes(png(300, 200))
    for name in (f"{target}.pdf", f"{target}.md", "net-0.json"):
        (folder / name).write_text("{}")
    (folder / f"{target}.json").write_text(json.dumps(document | changed))


def report(examples: Path, out: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "report.py", str(out)]
    environment = os.environ | variables
    return subprocess.run(command, cwd=examples, capture_output=True, text=True, env=environment)


def made(examples: Path, out: Path, **variables: str) -> Page:
    done = report(examples, out, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "index.html")
    assert not list(out.glob("*.part"))
    return Page((out / "index.html").read_text(encoding="utf-8"))


def test_the_page_is_whole_and_escaped(examples: Path) -> None:
    out = examples / "out" / "demo"
    write(out / "n20", "fig2")
    page = made(examples, out)
    assert page.open == []
    assert not page.all("b"), "a text of a document became a tag"
    for text in (f"Title {NASTY}", f"Note {NASTY}", f"accuracy {NASTY}", f"remark {NASTY}", f"Paper, Table {NASTY}",
                 "85.19 %", f"claim {NASTY} (section 3)", "holds", f"Panels: left panel {NASTY}.",
                 f"Not drawn: panel {NASTY} (needs SVHN=npz:FILE)"):  # fmt: skip
        assert text in page.text
    (image,) = page.all("img")
    assert (image["width"], image["height"], image["loading"]) == ("150", "100", "lazy")
    assert f"Title {NASTY}" in str(image["alt"])
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_all_that_it_links_is_there_and_nothing_comes_from_elsewhere(examples: Path) -> None:
    out = examples / "out" / "demo"
    write(out / "n20", "fig2")
    write(out / "a paper #1", "fig 1%")
    page = made(examples, out)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [str(own["href"]) for own in page.all("a")]
    assert {"n20/fig2.png", "n20/fig2.pdf", "n20/fig2.json", "n20/fig2.md", "n20/net-0.json"} <= set(links)
    assert "gone.json" in page.text
    for link in [*links, *(str(own["src"]) for own in page.all("img"))]:
        if link.startswith("#"):
            assert unquote(link[1:]) in map(unquote, map(str, ids)), link
        elif not link.startswith("https://arxiv.org/abs/"):
            assert (out / unquote(link)).is_file(), link
    loaded = [own.get("src") for tag, own in page.tags if tag != "a"] + page.all("link") + page.all("script")
    assert not [own for own in loaded if own and not str(own).startswith(("n20/", "a%20paper"))]
    assert "url(" not in (EXAMPLES / "report.css").read_text()
    assert "@import" not in (EXAMPLES / "report.css").read_text()


def test_commands_can_be_copied_whatever_make_runs_above(examples: Path) -> None:
    out = examples / "out" / "demo"
    write(out / "n20", "fig2")
    above = {
        "MAKEFLAGS": "-s --jobserver-auth=3,4 -- OUT=/no",
        "MAKELEVEL": "1",
        "OUT": "/no",
        "LCSTOOL": "/my/lcstool",
    }
    text = made(examples, out, **above).text
    there = "../out/demo/n20"
    commands = [
        f"cd examples/n20 && mkdir -p {there}",
        f"lcstool train --dataset leaves --seed 0 -q -o {there}/net-0.safetensors --resume",
        f"lcstool info {there}/net-0.safetensors --json >{there}/net-0.json",
        f"lcstool train --dataset leaves --seed 1 -q -o {there}/net-1.safetensors --resume",
        f"lcstool info {there}/net-1.safetensors --json >{there}/net-1.json",
        f"PYTHONPATH=.. python3 figures.py {there}/fig2.json --scale demo --dataset leaves {there}/net-0.json "
        f"{there}/net-1.json",
    ]
    assert "\n".join(commands) + "\n" in text


def test_commands_tell_of_runs_that_were_taken(examples: Path, tmp_path: Path) -> None:
    out, runs = examples / "out" / "demo", tmp_path / "runs"
    write(out / "n20", "fig2")
    (runs / "n20").mkdir(parents=True)
    (runs / "n20" / "net-0.safetensors").touch()
    text = made(examples, out, RUNS=str(runs)).text
    assert f"ln -sf {runs}/n20/net-0.safetensors ../out/demo/n20/net-0.safetensors" in text
    assert "--seed 0" not in text
    assert "--seed 1" in text


def test_what_is_missing_is_listed_in_the_makefiles_order(examples: Path) -> None:
    out = examples / "out" / "small"
    for target in ("table1", "old", "fig1"):
        write(
            out / "n20", target, scale="small", dataset="npz:/data/cifar10.npz", source=f"source of {target}"
        )
    page = made(examples, out)
    places = [page.text.index(f"source of {target}") for target in ("fig1", "table1", "old")]
    assert places == sorted(places)
    assert (
        "fig2: not made yet: make -C examples n20/fig2 SCALE=small DATASET=npz:/data/cifar10.npz" in page.text
    )
    assert "fig1: not made yet" not in page.text
    assert "Its Makefile no longer has this target." in page.text
    assert "data npz:cifar10.npz" in page.text


def test_results_of_stages_and_broken_files_are_no_recipes(examples: Path) -> None:
    out = examples / "out" / "demo"
    write(out / "n20", "fig2", figures=["fig2.png"], rows=[], claims=[], panels=[], note="")
    (out / "n20" / "fig1.json").write_text('{"target": ')
    (out / "n20" / "fig2.png").write_text("no image")
    done = report(examples, out)
    assert done.returncode == 0
    assert "fig1.json is left out" in done.stderr
    page = Page((out / "index.html").read_text())
    assert "fig1: not made yet" in page.text
    assert "fig2.png is missing" in page.text
    assert not page.all("img")
    assert not page.all("table")


def test_verdicts_are_counted_and_places_told_apart(examples: Path) -> None:
    out = examples / "out" / "demo"
    verdicts = ("holds", "holds", "not at this scale")
    claims = [
        {"claim": "c", "text": "t", "place": "section 1", "verdict": verdict, "measured": "1 of 2"}
        for verdict in verdicts
    ]
    row = {"what": "accuracy", "paper": 1.0, "ours": 2.0, "unit": "%", "remark": ""}
    rows = [row | {"place": "Table 1"}, row | {"place": "Fig. 1"}, row | {"paper": None, "place": ""}]
    write(out / "n20", "fig1", claims=claims, rows=rows, source=None)
    write(out / "n20", "fig2", claims=[claims[0] | {"verdict": "does not hold"}], rows=[])
    page = made(examples, out)
    told = "Of 4 claims of the text, 2 held here, 1 did not, 1 cannot be told at this scale."
    assert page.text.count(told) == 2
    assert "Our own" in page.text
    assert "1 %2 %Table 1" in page.text
    assert "1 %2 %Fig. 1" in page.text
    write(out / "n20", "fig1", rows=rows, source="Table 1")
    text = made(examples, out).text
    assert "Table 1" not in text.partition("1 %2 %")[2].partition("1 %2 %Fig. 1")[0]
    assert "Paper, " not in text


def test_nothing_made_is_said_and_leaves_no_page(examples: Path, tmp_path: Path) -> None:
    empty = tmp_path / "out"
    for out in (empty, tmp_path / "none"):
        empty.mkdir(exist_ok=True)
        done = report(examples, out)
        assert done.returncode == 2
        assert "nothing is made yet" in done.stderr
        assert not (out / "index.html").exists()
