"""Terminal output that runs and `inspect` share: paths, durations, budget bars and findings."""

import functools
import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from sweeper.config.schema import BudgetConf
from sweeper.design import Design
from sweeper.network.budget import COSTS
from sweeper.terminal.formats import percent
from sweeper.untrusted import printable

BAR_WIDTH: Final = 30
"""Greatest width of a budget bar, in characters."""
_NUMBER_AND_UNIT: Final = re.compile(r"(?<=\d) (?=(?:%|s|min|h|points|parameters|images|digits|trials|threads?)\b|%)")
_NAME_AND_NUMBER: Final = re.compile(r"\b(trial|seed|epoch|~) (?=\d)")
PLAIN_WIDTH: Final = 100
"""Width in characters if the output is not a terminal: rich's default of 80 would wrap paths."""


def make_console() -> Console:
    """Make a console for standard output. Markup is off: paths and values may contain brackets."""
    make = functools.partial(_Console, highlight=False, markup=False, emoji=False)
    console = make()
    return console if console.is_terminal or console.is_jupyter else make(width=PLAIN_WIDTH)


class _Console(Console):
    """A console that prints no escape code but its own: names and values may be a stranger's."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def display_path(path: Path) -> Path:
    """Return the path relative to the working directory if it is inside it, otherwise the absolute path."""
    absolute = Path(os.path.normpath(path.absolute()))
    return absolute.relative_to(Path.cwd()) if Path.cwd() in absolute.parents else absolute


def about(seconds: float) -> str:
    """Return an approximate duration as text, in seconds up to 90 s, otherwise in minutes.

    >>> about(40), about(400)
    ('about 40 s', 'about 7 min')
    """
    return f"about {seconds / 60:.0f} min" if seconds > 90 else f"about {seconds:.0f} s"


def print_prose(console: Console, text: str, style: str = "") -> None:
    """Print text; in a terminal, break its lines between words that belong together. Elsewhere it stays on one line."""
    console.print(Text(wrapped(text, console.width) if console.is_terminal else text, style=style), soft_wrap=True)


def print_command(console: Console, label: str, command: str) -> None:
    """Print what a command is for, and below it the command: alone on its line, which the terminal alone may wrap.

    So a click or two select it whole, to be pasted.
    """
    console.print(Text(f"{label}:"), soft_wrap=True)
    console.print(Text(command), soft_wrap=True)


def wrapped(text: str, width: int, indent: str = "") -> str:
    r"""Wrap text at spaces alone, and not between a number and its unit or name. Later lines begin with `indent`.

    >>> wrapped("best 97.60 % in trial 31", 10)
    'best\n97.60 % in\ntrial 31'
    """
    glued = _NUMBER_AND_UNIT.sub("\u00a0", _NAME_AND_NUMBER.sub("\\1\u00a0", text))
    lines = textwrap.wrap(
        glued, max(width, 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace("\u00a0", " ")


def budget_lines(design: Design, budget: BudgetConf) -> RenderableType:
    """Return one row per cost (parameters, MACs): the network's total and a bar of its share of the limit."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(max_width=BAR_WIDTH)  # the bar alone shrinks in a narrow terminal
    grid.add_column(justify="right", no_wrap=True)
    for cost, unit in COSTS:
        count, limit = getattr(design.summary, cost), getattr(budget, cost)
        if limit is None:
            grid.add_row(unit, f"{count:,}", Text("no limit", style="dim"), "")
        else:
            style = "red" if count > limit else "green"
            bar = ProgressBar(
                total=limit, completed=min(count, limit), width=None, complete_style=style, finished_style=style
            )
            grid.add_row(unit, f"{count:,}", bar, Text(f"{percent(count / limit, 0)} of {limit:,}", style=style))
    return grid


def finding_lines(design: Design, width: int) -> RenderableType:
    """Return the findings, each headed by its rule and layers, in lines of at most `width` characters."""
    if not design.findings:
        return Text("no findings", style="green")
    table = Table.grid(padding=(0, 1))
    for finding in design.findings:
        rule, layers = finding.rule.replace("_", " "), ", ".join(finding.layers)
        heading = Text(wrapped(f"{rule} in {layers}", width - 2))
        heading.stylize("bold yellow", 0, len(rule))
        message = Text(wrapped(finding.message, width - 2), overflow="ignore", no_wrap=True)
        table.add_row(Text("!", style="bold yellow"), Group(heading, message))
    return table
