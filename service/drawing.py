"""Attention grids as pictures: a table in the terminal, and an SVG of its own.

In both a column is a term of the query and a line one of the title, since titles are the longer of the two. Numbers
are per cent of the whole grid, so a grid reads without its colours too.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.style import Style
from rich.table import Table
from rich.text import Text

from service.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from index.explain import Explanation

_NAMED = 3
"""How many intersections and axes the lines below a grid name."""
_VISIBLE = 0.005
"""A share that rounds to less than one per cent is drawn as a dot."""
_NAME = 24
"""Characters of a title term that a table in the terminal shows."""
_ABREAST = 8
"""How many query terms a table in the terminal has side by side: 80 columns hold them."""
_COLD, _HOT = (222, 235, 247), (8, 69, 148)
_DARK_FROM = 0.6
"""The heat from which a cell needs light ink."""

_CHAR, _ROW, _MARGIN, _BAR = 7.3, 26, 24, 90
_LINE = 110
# What XML 1.0 cannot hold, however it is escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = """
svg { color-scheme: light dark; }
.page { fill: #ffffff; } .cell { fill: #eff3f7; } .heat { fill: #084594; } .bar { fill: #9db4cc; }
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1c2733; }
.head { font-size: 14px; font-weight: 600; } .faint { fill: #5b6b7c; } .on { fill: #ffffff; }
text { pointer-events: none; } .middle { text-anchor: middle; } .end { text-anchor: end; }
@media (prefers-color-scheme: dark) {
  .page { fill: #11161c; } .cell { fill: #1c242d; } .heat { fill: #6baed6; } .bar { fill: #4f6880; }
  text { fill: #e4eaf0; } .faint { fill: #94a3b3; } .on { fill: #0b1016; }
}
"""


def terminal(explanation: Explanation) -> RenderableType:
    """The grid and what else an explanation says, to print with rich; a long query takes several tables."""
    product = explanation.product
    named = Text.assemble(printable(product.title, "bold"), "  ", printable(product.product_id))
    count = len(explanation.query_terms)
    tables = [_table(explanation, range(start, min(start + _ABREAST, count))) for start in range(0, count, _ABREAST)]
    return Group(named, *tables, *map(printable, _notes(explanation)))


def _table(explanation: Explanation, columns: range) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text("title \\ query"), justify="right", no_wrap=True, overflow="ellipsis", max_width=_NAME)
    for column in columns:
        query_term = explanation.query_terms[column]
        heading = Text(f"{query_term.term}\n{_percent(query_term.weight)}")
        table.add_column(heading, justify="right", overflow="fold", min_width=3)
    table.add_column("answers", justify="right", style="bold", no_wrap=True)
    table.add_column("attention", justify="right", style="dim", no_wrap=True)
    hottest = _hottest(explanation)
    for place, title_term in enumerate(explanation.title_terms):
        shares = [explanation.grid[column][place] for column in columns]
        table.add_row(
            Text(title_term.term),
            *(Text(_percent(share), style=_heat(share / hottest)) for share in shares),
            _percent(title_term.answers),
            _percent(title_term.weight),
        )
    return table


def svg(explanation: Explanation) -> str:
    """The grid as one SVG document for a light or a dark page; a cell tells its two terms and its share on hover."""
    columns = [max(46.0, _width(term.term) + 14) for term in explanation.query_terms]
    left = _MARGIN + max(_width(term.term) for term in explanation.title_terms) + 12
    right = left + sum(columns)
    query, title = _wrapped(explanation.query), _wrapped(explanation.product.title)
    notes = [line for note in _notes(explanation) for line in _wrapped(note)]
    top = _MARGIN + 20 * (len(query) + len(title)) + 56
    bottom = top + _ROW * len(explanation.title_terms)
    texts = (*(1.2 * _width(line) for line in query), *map(_width, title), *map(_width, notes))
    width = max(right + _BAR + 60, _MARGIN + max(texts)) + _MARGIN
    sheet = _Sheet(
        width, bottom + 18 * len(notes) + 12 + _MARGIN, title=f"{explanation.query} · {explanation.product.title}"
    )
    for number, line in enumerate((*query, *title)):
        sheet.text(line, _MARGIN, _MARGIN + 12 + 20 * number, "head" if number < len(query) else "")
    edges = [left + sum(columns[:place]) for place in range(len(columns))]
    for query_term, edge, column in zip(explanation.query_terms, edges, columns, strict=True):
        sheet.text(query_term.term, edge + column / 2, top - 26, "middle")
        sheet.text(_percent(query_term.weight), edge + column / 2, top - 10, "middle faint")
    sheet.text("answers", right + 12, top - 10, "faint")
    _draw_cells(sheet, explanation, left=edges, widths=columns, top=top)
    for place, title_term in enumerate(explanation.title_terms):
        middle = top + _ROW * (place + 0.5)
        sheet.text(title_term.term, left - 12, middle + 4, "end")
        sheet.rect("bar", right + 12, middle - 5, _BAR * title_term.answers, 10)
        sheet.text(_percent(title_term.answers), right + 20 + _BAR * title_term.answers, middle + 4, "faint")
    for number, line in enumerate(notes):
        sheet.text(line, _MARGIN, bottom + 30 + 18 * number, "faint")
    return sheet.document()


class _Sheet:
    """An SVG under way."""

    def __init__(self, width: float, height: float, *, title: str) -> None:
        size = {"width": f"{width:.0f}", "height": f"{height:.0f}"}
        self._root = ElementTree.Element(
            "svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:.0f} {height:.0f}", **size}
        )
        self._root.set("role", "img")
        ElementTree.SubElement(self._root, "title").text = _NOT_XML.sub("\ufffd", title)
        ElementTree.SubElement(self._root, "style").text = _STYLE
        self.rect("page", 0, 0, width, height)

    def rect(
        self, kind: str, x: float, y: float, width: float, height: float, *, opacity: float = 1.0, title: str = ""
    ) -> None:
        """A rectangle of the style ``kind``."""
        places = {"x": x, "y": y, "width": width, "height": height, "rx": 3 if kind != "page" else 0}
        drawn = ElementTree.SubElement(self._root, "rect", {name: f"{value:.1f}" for name, value in places.items()})
        drawn.set("class", kind)
        if opacity < 1.0:
            drawn.set("fill-opacity", f"{opacity:.3f}")
        if title:
            ElementTree.SubElement(drawn, "title").text = _NOT_XML.sub("\ufffd", title)

    def text(self, text: str, x: float, y: float, kind: str) -> None:
        """A line of text; x is its start unless ``kind`` says otherwise."""
        written = ElementTree.SubElement(self._root, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind})
        written.text = _NOT_XML.sub("\ufffd", text)

    def document(self) -> str:
        """All of it."""
        ElementTree.indent(self._root)
        return ElementTree.tostring(self._root, encoding="unicode") + "\n"


def _draw_cells(sheet: _Sheet, explanation: Explanation, *, left: list[float], widths: list[float], top: float) -> None:
    hottest = _hottest(explanation)
    for query_term, line, x, width in zip(explanation.query_terms, explanation.grid, left, widths, strict=True):
        for place, (title_term, share) in enumerate(zip(explanation.title_terms, line, strict=True)):
            y, heat = top + _ROW * place, share / hottest
            told = f"{query_term.term} × {title_term.term}: {share:.2%}"
            sheet.rect("cell", x + 1, y + 1, width - 2, _ROW - 2)
            sheet.rect("heat", x + 1, y + 1, width - 2, _ROW - 2, opacity=heat, title=told)
            ink = "middle faint" if share < _VISIBLE else "middle on" if heat >= _DARK_FROM else "middle"
            sheet.text(_percent(share), x + width / 2, y + _ROW / 2 + 4, ink)


def _notes(explanation: Explanation) -> Iterator[str]:
    """What the grid does not show, in lines of text."""
    inside = "inside the hyperboloid" if explanation.contained else "outside the hyperboloid"
    yield (
        f"distance {explanation.distance:.4f}, {inside}: {explanation.d_out:.4f} to its nearest point, "
        f"{explanation.d_in:.4f} from there to the centre"
    )
    terms = explanation.query_terms
    if explanation.intersections:
        pairs = (
            f"{terms[pair.first].term} ∩ {terms[pair.second].term} {_percent(pair.weight)}"
            for pair in explanation.intersections[:_NAMED]
        )
        yield f"heaviest intersections: {', '.join(pairs)}"
    if explanation.axes:
        worst = (
            f"{axis.axis} at {axis.offset:+.3f} with limit {axis.limit:.3f} ({_percent(axis.share)})"
            for axis in explanation.axes[:_NAMED]
        )
        yield f"outside on {len(explanation.axes)} axes, most of it on {', '.join(worst)}"
    words, fused = explanation.words, explanation.fused
    missing = f", not {', '.join(words.missing)}" if words.missing else ""
    yield f"BM25 {words.score:.4f}: has {', '.join(words.shared) or 'no word of the query'}{missing}"
    if fused is not None:
        clicks_too = f" {fused.behaviour:+.4f} by clicks" if explanation.clicks is not None else ""
        yield (
            f"hybrid score {fused.score:.4f} = {fused.hyperboloid:+.4f} by distance {fused.lexical:+.4f} by BM25"
            f"{clicks_too}"
        )
    clicks = explanation.clicks
    if clicks is not None and clicks.queries:
        yield f"clicked for {', '.join(f'“{query}”' for query in clicks.queries[:_NAMED])}"
    if clicks is not None and clicks.companions:
        with_it = "; ".join(companion.title for companion in clicks.companions[:_NAMED])
        yield f"in sessions with {with_it} ({_percent(clicks.sessions)} of what clicks say of it)"


def _hottest(explanation: Explanation) -> float:
    return max(max(line) for line in explanation.grid)


def _heat(heat: float) -> Style:
    if heat < _VISIBLE:
        return Style(dim=True)
    red, green, blue = (round(cold + heat * (hot - cold)) for cold, hot in zip(_COLD, _HOT, strict=True))
    ink = "#ffffff" if heat >= _DARK_FROM else "#000000"
    return Style(color=ink, bgcolor=f"#{red:02x}{green:02x}{blue:02x}")


def _percent(share: float) -> str:
    return "·" if share < _VISIBLE else f"{share:.0%}"


def _width(text: str) -> float:
    """Pixels that a line of 12 px text takes, wide characters counted twice."""
    return _CHAR * cell_len(text)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE)
