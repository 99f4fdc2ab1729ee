"""The page of several searches: a table of what each reached and needed, and the best so far in three figures."""

from collections.abc import Callable, Sequence
from typing import Final

import plotly.graph_objects as go

from sweeper.report.page import render
from sweeper.report.page_figure import BLUE, GREEN, GREY, ORANGE, LegendEntry, PageFigure, arrange
from sweeper.report.search_comparison import ComparedSearch, SearchComparison, Step
from sweeper.report.study_view import PURPLE, parameters_of
from sweeper.shell import sweeper_command
from sweeper.study.commands import Command
from sweeper.terminal.formats import duration

COLOURS: Final = (ORANGE, BLUE, GREEN, PURPLE, GREY)
DASHES: Final = (("none", "solid"), ("6 3", "dash"), ("2 3", "dot"))
"""How a line is dashed: in the legend's SVG, and in plotly. With more searches than colours, these tell them apart."""


def search_comparison_page(compared: SearchComparison) -> str:
    """Return the page as HTML."""
    entries = [_entry(index, each.name) for index, each in enumerate(compared.searches)]
    return render(
        "searches.html",
        kind="Comparison",
        title=f"{len(compared.searches)} searches",
        figures=_figures(compared, entries),
        compared=compared,
        level=compared.searches[0].view.scale.text(compared.level),
        metric=compared.searches[0].view.scale.short,
        step=compared.searches[0].view.step,
        has_sizes=any(parameters_of(each.best) is not None for each in compared.searches),
        has_epochs=any(each.steps and each.steps[-1].epochs for each in compared.searches),
        rows=[(entry, _row(each, compared.level)) for entry, each in zip(entries, compared.searches, strict=True)],
        commands=[
            Command(label=each.name, text=sweeper_command("report", *each.arguments)) for each in compared.searches
        ],
    )


def _row(search: ComparedSearch, level: float) -> dict[str, str]:
    """Return the texts of a search's cells."""
    size = parameters_of(search.best)
    last = search.steps[-1] if search.steps else None
    step = search.reached(level)
    return {
        "best": search.view.scale.text(search.best.values[0]),
        "trial": str(search.best.number),
        "parameters": "" if size is None else f"{size:,}",
        **{f"all_{name}": text for name, text in _texts(last).items()},
        **{f"level_{name}": text for name, text in _texts(step).items()},
    }


def _texts(step: Step | None) -> dict[str, str]:
    if step is None:
        return {"trials": "", "epochs": "", "time": ""}
    return {"trials": f"{step.trials:,}", "epochs": f"{step.epochs:,}", "time": duration(step.seconds)}


def _entry(index: int, name: str) -> LegendEntry:
    dash, _ = DASHES[index // len(COLOURS) % len(DASHES)]
    return LegendEntry(name=name, colour=COLOURS[index % len(COLOURS)], dash=dash)


def _figures(compared: SearchComparison, entries: Sequence[LegendEntry]) -> list[PageFigure]:
    view = compared.searches[0].view
    step = view.step
    axes: list[tuple[str, str, Callable[[Step], float]]] = [
        ("trials", "trials", lambda step: step.trials),
        (f"{step}s", f"{step}s trained" if view.is_ours else "reported steps", lambda step: step.epochs),
        ("seconds", "seconds in which a trial ran", lambda step: round(step.seconds, 2)),
    ]
    return [
        _figure(compared, entries, name, title, at)
        for name, title, at in axes
        if any(each.steps and at(each.steps[-1]) for each in compared.searches)
    ]


def _figure(
    compared: SearchComparison, entries: Sequence[LegendEntry], name: str, title: str, at: Callable[[Step], float]
) -> PageFigure:
    """Return the best so far of each search against what it has spent."""
    plot = go.Figure()
    scale = compared.searches[0].view.scale
    values: list[float] = []
    for index, (entry, search) in enumerate(zip(entries, compared.searches, strict=True)):
        values += [step.value for step in search.steps]
        plot.add_scatter(
            x=[at(step) for step in search.steps],
            y=[scale.place(step.value) for step in search.steps],
            text=[f"{entry.name}: {scale.text(step.value)}" for step in search.steps],
            hovertemplate="%{text} after %{x:,}<extra></extra>",
            mode="lines",
            line={
                "color": entry.colour,
                "shape": "hv",
                "width": 2,
                "dash": DASHES[index // len(COLOURS) % len(DASHES)][1],
            },
            showlegend=False,
        )
    arrange(plot, x=title, y=scale.title)
    plot.update_xaxes(rangemode="tozero")
    plot.update_yaxes(**scale.axis(values))
    return PageFigure(
        name=f"best-by-{name}",
        title=f"Best so far by {name}",
        caption=f"The best {scale.title} so far, against {title}.",
        plot=plot,
        legend=tuple(entries),
        wide=True,
    )
