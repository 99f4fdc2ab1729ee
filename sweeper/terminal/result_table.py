"""Decides what a table of results shows in a narrow terminal: which columns go first, and where a long name breaks."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

NAME_WIDTH: Final = 20
"""Least width of the names, in characters, for which other columns are left out."""
_SPACES: Final = re.compile(r"(?<= )(?!of \d|\d+\)$)")
"""Where a name breaks if it can: between its words, but not in a count such as (2 of 5)."""
_BREAKS: Final = re.compile(r"(?<=[.,=/_-])(?!\d)")
"""Where a word breaks that is longer than a line: not in a number."""


def result_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    dropped: Sequence[str],
    gap: int = 1,
    styles: Mapping[str, str] | None = None,
) -> Table:
    """Return a table of at most `width` characters: a name on the left, figures on its right; no figure is cut.

    If it is too wide, the columns in `dropped` are left out, the first one first, as few as possible; then names break.
    `styles` has the style of a cell by its text.
    """
    shown = _shown(columns, rows, width, dropped, gap)
    left_out = [heading for heading in columns if heading not in {columns[at] for at in shown}]
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        caption=f"In a wider terminal also: {', '.join(left_out)}" if left_out else None,
        caption_justify="left",
    )
    room = max(width - sum(gap + _width(columns, rows, at) for at in shown[1:]), 1)
    for at in shown:
        is_text = at == 0 or not columns[at]
        table.add_column(columns[at], justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        cells = ["\n".join(_broken(row[0], room)), *(row[at] for at in shown[1:])]
        table.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in cells))
    return table


def _shown(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, dropped: Sequence[str], gap: int
) -> list[int]:
    """Return the positions of the columns that fit beside a name of `NAME_WIDTH`, or of the longest one."""
    shown = list(range(len(columns)))
    for heading in dropped:
        others = sum(gap + _width(columns, rows, at) for at in shown[1:])
        if min(_width(columns, rows, 0), NAME_WIDTH) + others <= width:
            break
        shown.remove(columns.index(heading))
    return shown


def _width(columns: Sequence[str], rows: Sequence[Sequence[str]], at: int) -> int:
    return max(map(len, (columns[at], *(row[at] for row in rows))))


def _broken(name: str, width: int) -> list[str]:
    """Return the lines of a name, each of at most `width` characters."""
    lines = [""]
    for word in _SPACES.split(name):
        for piece in [word] if len(word.rstrip()) <= width else _BREAKS.split(word):
            if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
                lines.append("")
            lines[-1] += piece
            while len(lines[-1].rstrip()) > width:  # one piece alone is too long
                lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]
