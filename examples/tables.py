"""What the report's page says under a figure: its panels, the paper's claims with our verdicts, and the values."""

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import Any

from cells import shown

_LONG = 16  # letters of a cell that may be broken
_VERDICTS = {
    "holds": "{} held here",
    "does not hold": "{} did not",
    "not at this scale": "{} cannot be told at this scale",
}


def source(document: dict[str, Any]) -> str:
    """The number of a figure in its paper, or that it is ours."""
    return str(document["source"] or "Our own")


def tally(documents: Iterable[dict[str, Any]]) -> str:
    """A sentence on the verdicts; empty where nothing is claimed."""
    found = Counter(claim["verdict"] for document in documents for claim in document["claims"])
    parts = [words.format(found[verdict]) for verdict, words in _VERDICTS.items() if found[verdict]]
    claims = f"claim{'' if found.total() == 1 else 's'} of the text"
    return f"Of {found.total()} {claims}, {', '.join(parts)}." if parts else ""


def panels(listed: list[dict[str, Any]]) -> str:
    """What each panel shows, and why some are not drawn."""
    drawn = "; ".join(panel["what"] for panel in listed if not panel["missing"])
    texts = [f"Panels: {drawn}."] if drawn else []
    for why in dict.fromkeys(panel["missing"] for panel in listed if panel["missing"]):
        missing = "; ".join(panel["what"] for panel in listed if panel["missing"] == why)
        texts.append(f"Not drawn: {missing} ({why})")
    return "\n".join(f'<p class="panels">{escape(text)}</p>' for text in texts)


def claims(listed: list[dict[str, Any]]) -> str:
    """What the paper says, and whether what was measured bears it out."""
    lines = ['<h4>The paper says</h4><ul class="claims">']
    for claim in listed:
        kind = claim["verdict"].replace(" ", "-")
        lines.append(
            f'<li><span class="text">{escape(claim["text"])} <span class="remark">({escape(claim["place"])})</span>'
            f'</span> <span class="verdict {kind}">{escape(claim["verdict"])}</span> '
            f'<span class="remark">{escape(claim["measured"])}</span></li>'
        )
    return "\n".join([*lines, "</ul>"])


def values(document: dict[str, Any], about: str) -> str:
    """The rows; a column that no row fills is left out, and a place that is this figure or that all rows share."""
    columns, rows = {"paper": "Paper", "ours": "Ours"}, document["rows"]
    places = {row["place"] for row in rows if row["paper"] is not None}
    if not places:
        del columns["paper"]
    elif len(places) == 1 and not places & {"", document["source"]}:
        columns["paper"] = f"Paper, {next(iter(places))}"
    told = places if len(places) == 1 else {document["source"]}
    remarks = [_remark(row, "" if row["place"] in told else row["place"]) for row in rows]
    has_remarks = any(remarks)
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in ("Quantity", *columns.values()))
    if has_remarks:
        heads += '<th scope="col" class="remark">Remark</th>'
    lines = [
        f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {escape(about)}">'
        f'<table class="{" ".join(columns)}"><thead><tr>{heads}</tr></thead><tbody>'
    ]
    for row, remark in zip(rows, remarks, strict=True):
        cells = [f'<th scope="row">{escape(row["what"])}</th>']
        for name in columns:
            text = shown(row[name], row["unit"])
            kind = "long" if len(text) > _LONG else "number"
            cells.append(f'<td class="{kind}">{escape(text)}</td>')
        if has_remarks:
            cells.append(f'<td class="remark">{escape(remark)}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _remark(row: dict[str, Any], place: str) -> str:
    return "; ".join(part for part in (row["remark"], place) if part)
