"""Everything made at one scale on one page: python report.py out/demo writes out/demo/index.html.

The page is one static file beside the figures it shows: no server, no network, no scripts.
"""

import argparse
import os
import re
import struct
import sys
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from commands import EXAMPLES, commands, is_default
from papers import SCALES, Paper, read
from tables import claims, panels, source, tally, values

_OPTION, _WHOLE = re.compile("(?<= )-[^ ]+"), r"<span>\g<0></span>"  # where lines are broken, options are not
_TODO = "not-made-yet"
_WIDE = 1200  # pixels of a PNG that a phone does not shrink to its width, but scrolls
_PIXELS = 2  # of a PNG to one of the page: sharp on fine screens, letters of figures as large as the text's


def page(papers: list[Paper], out: Path) -> str:
    """The whole document."""
    num_made = sum(len(paper.made) for paper in papers)
    num_all = num_made + sum(len(paper.missing) for paper in papers)
    scales = dict.fromkeys(document["scale"] for paper in papers for document in paper.made)
    about = "; ".join(f"{scale}: {SCALES[scale]}" if scale in SCALES else scale for scale in scales)
    css = (EXAMPLES / "report.css").read_text(encoding="utf-8")
    return "\n".join([
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>lcstool: figures and tables, scale {escape(', '.join(scales))}</title>",
        f"<style>\n{css}</style>", "</head>", "<body>",
        '<header><a class="skip" href="#figures">Skip to the figures</a>',
        "<h1>Where does the convolutional inductive bias come from?</h1>",
        "<p>Figures and tables of the papers that lcstool reproduces: what they print, what was measured here, and the "
        "commands in between.</p>",
        f'<p class="soft">Scale {escape(about)}. {num_made} of {num_all} figures and tables are made. '
        f"{tally(document for paper in papers for document in paper.made)}</p></header>",
        '<nav aria-labelledby="contents"><h2 id="contents">Contents</h2><ul>',
        *map(_entry, papers), "</ul></nav>", '<main id="figures">',
        *(_section(paper, out) for paper in papers), "</main>", "</body>", "</html>", "",
    ])  # fmt: skip


def _entry(paper: Paper) -> str:
    lines = [
        f'<li><a href="#{_id(paper.folder, document["target"])}"><span class="name">{escape(document["target"])}</span>'
        f'<span class="title">{escape(document["title"])}</span></a></li>'
        for document in paper.made
    ]
    if paper.missing:
        lines.append(
            f'<li><a class="missing" href="#{_id(paper.folder, _TODO)}">{len(paper.missing)} not made yet</a></li>'
        )
    listed = f"<ul>{''.join(lines)}</ul>" if lines else ""
    return f'<li><a href="#{_id(paper.folder)}">{escape(paper.name)}</a>{listed}</li>'


def _section(paper: Paper, out: Path) -> str:
    lines = [f'<section id="{_id(paper.folder)}">', f"<h2>{escape(paper.name)}</h2>"]
    for reference in paper.references:
        number = escape(reference.arxiv)
        link = f'<a href="https://arxiv.org/abs/{number}">arXiv {number}</a>'
        lines.append(f'<p class="reference">{escape(reference.text)} {link}</p>')
    if told := tally(paper.made):
        lines.append(f'<p class="soft">{told}</p>')
    lines += [_article(paper, document, out) for document in paper.made]
    if paper.missing:
        lines += [
            f'<ul class="todo" id="{_id(paper.folder, _TODO)}">',
            *(f"<li>{_todo(paper, target, out)}</li>" for target in paper.missing),
            "</ul>",
        ]
    elif not paper.made:
        lines.append(f"<p>Nothing made yet: <code>make -C examples {escape(paper.folder)}</code></p>")
    return "\n".join([*lines, "</section>"])


def _todo(paper: Paper, target: str, out: Path) -> str:
    more = [] if paper.scale == "demo" else [f"SCALE={paper.scale}", f"DATASET={paper.dataset}"]
    if not is_default(out / paper.folder, paper.folder, paper.scale):
        more.append(f"OUT={out.resolve()}")
    command = " ".join(["make -C examples", f"{paper.folder}/{target}", *more])
    return f"{escape(target)}: not made yet: <code>{escape(command)}</code>"


def _article(paper: Paper, document: dict[str, Any], out: Path) -> str:
    target, folder = document["target"], paper.folder
    own = _id(folder, target)
    lines = [
        f'<article id="{own}" aria-labelledby="{own}-title">',
        f'<h3 id="{own}-title"><span class="source">{escape(source(document))}</span> '
        f"{escape(document['title'])}</h3>",
    ]
    if document["note"]:
        lines.append(f'<p class="note">{escape(document["note"])}</p>')
    about = f"{source(document)}: {document['title']}"
    files = [out / folder / name for name in document["figures"]]
    lines += [_figure(file, about, out) for file in files if file.suffix == ".png"]
    if document["panels"]:
        lines.append(panels(document["panels"]))
    if document["claims"]:
        lines.append(claims(document["claims"]))
    if document["rows"]:
        lines.append(values(document, about))
    links = [(file.suffix[1:].upper() + _part(file, target), file) for file in files if file.suffix != ".png"]
    links += [("JSON", out / folder / f"{target}.json"), ("Markdown", out / folder / f"{target}.md")]
    shown_links = " ".join(_link(file, name, out) for name, file in links)
    data = re.sub(r"(?<=:).*/", "", document["dataset"])  # npz:/somewhere/cifar10.npz
    lines.append(
        f'<p class="files">{shown_links} Scale {escape(document["scale"])}, data {escape(data)}.</p>'
    )
    lines.append(_how(folder, document, out))
    if document["inputs"]:
        inputs = [(name, Path(os.path.normpath(out / folder / name))) for name in document["inputs"]]
        items = "".join(f"<li>{_link(file, file.name, out)}</li>" for _, file in inputs)
        lines.append(
            f"<details><summary>Made from {_counted(len(inputs), 'file')}</summary>"
            f'<ul class="inputs">{items}</ul></details>'
        )
    return "\n".join([*lines, "</article>"])


def _figure(file: Path, about: str, out: Path) -> str:
    try:
        width, height = _png_size(file)
    except (OSError, ValueError):
        return f'<p class="soft">{escape(file.name)} is missing.</p>'
    url = _url(file, out)
    kind = ' class="wide"' if width >= _WIDE else ""
    size = f'width="{round(width / _PIXELS)}" height="{round(height / _PIXELS)}"'
    return (
        f'<figure{kind}><a href="{url}"><img src="{url}" {size} '
        f'loading="lazy" alt="{escape(about)} ({escape(file.stem)})"></a></figure>'
    )


def _png_size(file: Path) -> tuple[int, int]:
    with file.open("rb") as stream:
        head = stream.read(24)
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{file} is not a PNG")
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _how(folder: str, document: dict[str, Any], out: Path) -> str:
    found = commands(folder, document["target"], document["scale"], document["dataset"], out / folder)
    if not found:
        return '<p class="files">Its Makefile no longer has this target.</p>'
    place = (
        f"../out/{document['scale']}/{folder}"
        if is_default(out / folder, folder, document["scale"])
        else str((out / folder).resolve())
    )
    lines = [f"cd examples/{folder} && mkdir -p {place}", *found]
    text = "".join(f"<code>{_OPTION.sub(_WHOLE, escape(line))}\n</code>" for line in lines)
    counted = _counted(len(found), "command")
    return f"<details><summary>Made by {counted}</summary><pre>{text}</pre></details>"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _part(file: Path, target: str) -> str:
    """` b` of fig2-b.pdf."""
    return escape(file.stem.removeprefix(target).replace("-", " "))


def _id(*names: str) -> str:
    return escape(quote("-".join(names), safe=""))


def _url(file: Path, out: Path) -> str:
    return escape(quote(Path(os.path.relpath(file, out)).as_posix()))


def _link(file: Path, name: str, out: Path) -> str:
    return f'<a href="{_url(file, out)}">{escape(name)}</a>' if file.exists() else escape(name)


def main() -> None:
    parser = argparse.ArgumentParser(description="One page of everything made at one scale.")
    parser.add_argument("out", type=Path, help="The folder of a scale: out/demo")
    out = parser.parse_args().out
    papers = read(out) if out.is_dir() else []
    if not any(paper.made for paper in papers):
        print(f"report: nothing is made yet under {out}: run `make -C examples` first", file=sys.stderr)
        sys.exit(2)
    part = out / "index.html.part"
    part.write_text(page(papers, out), encoding="utf-8")
    part.replace(out / "index.html")
    print(out / "index.html")


if __name__ == "__main__":
    main()
