"""The figures of a run's page, and of a page that compares several runs in the same plots."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from sweeper.records import EpochRecord, Mistakes
from sweeper.report.accuracy_axis import NOTE, AccuracyAxis, is_wide, log_ticks
from sweeper.report.page_figure import BLUE, FEW_EPOCHS, GREEN, GREY, ORANGE, LegendEntry, PageFigure, arrange
from sweeper.report.record import RunRecord, during_and_after
from sweeper.terminal.formats import percent

COLOURS: Final = (ORANGE, BLUE, GREEN, "#a371f7", "#c99700", "#1b9e9e")
"""The colours of several runs in one plot, of the best run first."""
DASHES: Final = (("solid", "none"), ("dash", "9 4"), ("dot", "2 3"), ("dashdot", "9 3 2 3"))
"""The lines of several runs in one plot, so that they differ without colours: as plotly and as SVG name them."""
HIGHLIGHTED: Final = 3
"""Number of runs with a colour of their own if there are more runs than `COLOURS`: more cannot be told apart."""
MOST_MARKERS: Final = 40
"""Number of epochs up to which each one is marked by a point."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A run in a plot of several."""

    record: RunRecord
    entry: LegendEntry
    """Its name and look."""
    dash: str
    """The same look as plotly names it."""
    is_quiet: bool = False
    """Whether it is one of the many in the background."""


def run_figures(record: RunRecord) -> list[PageFigure]:
    """Return a run's figures of accuracy, loss and learning rate by epoch: validation orange, training blue."""
    shown = [epoch.val_accuracy for epoch in record.epochs] + [epoch.train_accuracy for epoch in record.epochs]
    shown += [record.conf.target, *([record.result.train_accuracy_eval] if record.result is not None else [])]
    axis = AccuracyAxis.of(shown, images=record.images)
    accuracy, loss, rate = go.Figure(), go.Figure(), go.Figure()
    during, after = during_and_after(has_dropout=record.has_dropout)
    for part, dash, colour, name in (
        ("val", "solid", ORANGE, record.evaluated_on),
        ("train", "dot", BLUE, f"training, {during}"),
    ):
        style = {"name": name, "line": {"color": colour, "dash": dash}}
        accuracies = [float(getattr(epoch, f"{part}_accuracy")) for epoch in record.epochs]
        losses = [float(getattr(epoch, f"{part}_loss")) for epoch in record.epochs]
        _add_line(accuracy, record.epochs, [axis.place(value) for value in accuracies], percents(accuracies), **style)
        _add_line(loss, record.epochs, losses, [f"{value:.4f}" for value in losses], **style)
    if record.result is not None:
        star: dict[str, Any] = {"name": f"training, {after}", "mode": "markers"}
        star |= {"marker": {"symbol": "star", "size": 12, "color": BLUE}}
        last, final = record.epochs[-1:], record.result
        position = axis.place(final.train_accuracy_eval)
        _add_line(accuracy, last, [position], percents([final.train_accuracy_eval]), **star)
        _add_line(loss, last, [final.train_loss_eval], [f"{final.train_loss_eval:.4f}"], **star)
    rates = [epoch.lr for epoch in record.epochs]
    _add_line(rate, record.epochs, rates, [f"{lr:.2g}" for lr in rates], name="learning rate", line={"color": GREY})
    accuracy.update_yaxes(**axis.settings)
    axis.add_line(accuracy, record.conf.target, f"target {_short(record.conf.target)}", colour=GREY)
    figures = _arranged(accuracy, loss, rate, [record])
    rate.update_layout(showlegend=False)
    # Training and validation accuracy may both be at the target line, so the legend is not inside the plot.
    last_loss = f"After the last epoch: {record.evaluated_on} {record.epochs[-1].val_loss:.4f}."
    captions = (f"{_last_accuracy(record)} {NOTE}", last_loss, "The learning rate of each epoch's last step.")
    return [_figure(*of, caption=caption) for of, caption in zip(figures, captions, strict=True)]


def comparison_figures(lines: Sequence[Line]) -> list[PageFigure]:
    """Return the figures of several runs: validation accuracy and loss, and learning rate. The first is on top."""
    records = [line.record for line in lines]
    targets = dict.fromkeys(record.conf.target for record in records)
    shown = [epoch.val_accuracy for record in records for epoch in record.epochs]
    axis = AccuracyAxis.of([*shown, *targets], images=max(record.images for record in records))
    accuracy, loss, rate = go.Figure(), go.Figure(), go.Figure()
    value_of: list[tuple[go.Figure, Callable[[EpochRecord], float], Callable[[EpochRecord], str]]] = [
        (accuracy, lambda epoch: axis.place(epoch.val_accuracy), lambda epoch: percent(epoch.val_accuracy)),
        (loss, lambda epoch: epoch.val_loss, lambda epoch: f"{epoch.val_loss:.4f}"),
        (rate, lambda epoch: epoch.lr, lambda epoch: f"{epoch.lr:.2g}"),
    ]
    for line in reversed(lines):
        style: dict[str, Any] = {
            "name": html.escape(line.entry.name),
            "line": {"color": line.entry.colour, "dash": line.dash, "width": line.entry.width},
            "opacity": 0.55 if line.is_quiet else 1,
        }
        if line.is_quiet and len(line.record.epochs) > 1:
            style["mode"] = "lines"
        for plot, place, text in value_of:
            epochs = line.record.epochs
            _add_line(plot, epochs, [place(epoch) for epoch in epochs], [text(epoch) for epoch in epochs], **style)
    accuracy.update_yaxes(**axis.settings)
    for target in targets:
        axis.add_line(accuracy, target, f"target {_short(target)}", colour=GREY)
    figures = _arranged(accuracy, loss, rate, records)
    legend = tuple(line.entry for line in lines if not line.is_quiet)
    quiet = [line for line in lines if line.is_quiet]
    if quiet:
        others = f"{len(quiet)} others, named where the pointer is"
        legend += (LegendEntry(name=others, colour=GREY, width=quiet[0].entry.width),)
    sets = " and ".join(dict.fromkeys(record.evaluated_on for record in records))
    captions = (f"{sets.capitalize()} accuracy. {NOTE}", f"{sets.capitalize()} loss.", "At each epoch's last step.")
    made = []
    for (name, title, plot), caption in zip(figures, captions, strict=True):
        plot.update_layout(showlegend=False, margin={"t": 12})
        made.append(_figure(name, title, plot, caption=caption, legend=legend))
    return made


def make_lines(records: Sequence[RunRecord], names: Sequence[str], leaders: Sequence[RunRecord]) -> list[Line]:
    """Return the lines of runs, best first. If they are many, only `leaders` and the next best have colours."""
    many = len(records) > len(COLOURS)
    ranked = [*leaders, *(record for record in records if all(record is not leader for leader in leaders))]
    shown = ranked[: max(HIGHLIGHTED, min(len(leaders), len(COLOURS)))] if many else ranked
    lines = []
    for record, name in zip(records, names, strict=True):
        rank = next((rank for rank, other in enumerate(shown) if other is record), None)
        if rank is None:
            entry = LegendEntry(name=name, colour=GREY, width=1.2)
            lines.append(Line(record=record, entry=entry, dash="solid", is_quiet=True))
            continue
        dash, svg = DASHES[rank % len(DASHES)]
        width = 3.0 if any(record is leader for leader in leaders) else 2.0
        entry = LegendEntry(name=name, colour=COLOURS[rank], dash=svg, width=width)
        lines.append(Line(record=record, entry=entry, dash=dash))
    return lines


def confusion_figure(mistakes: Mistakes, *, evaluated_on: str) -> PageFigure:
    """Return the confusion matrix. The diagonal, correct predictions, has no colour. The caption has `evaluated_on`."""
    classes = [str(label) for label in range(len(mistakes.confusion))]
    wrong = [
        [n if row != column else 0 for column, n in enumerate(counts)] for row, counts in enumerate(mistakes.confusion)
    ]
    plot = go.Figure(
        go.Heatmap(
            z=wrong,
            x=classes,
            y=classes,
            text=[[str(n) if n else "" for n in counts] for counts in mistakes.confusion],
            texttemplate="%{text}",
            # Numbers stay readable even in the darkest cell: dark ones on a light page, light ones on a dark page.
            colorscale=[[0, "rgba(224,112,42,0)"], [1, "rgba(224,112,42,0.6)"]],
            showscale=False,
            hovertemplate="true %{y}, predicted %{x}: %{text}<extra></extra>",
        )
    )
    arrange(plot, x="predicted class", y="true class")
    plot.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, dtick=1)
    plot.update_xaxes(showgrid=False, zeroline=False, dtick=1)
    count = sum(map(sum, wrong))
    total = sum(map(sum, mistakes.confusion))
    most, row, column = max((n, row, column) for row, counts in enumerate(wrong) for column, n in enumerate(counts))
    worst = f"; the most frequent mistake, {most} times, is a {row} predicted as a {column}" if count else ""
    caption = f"{count:,} of {total:,} {evaluated_on} images are misclassified{worst}."
    return PageFigure(name="confusion", title="Confusion matrix", caption=caption, plot=plot)


def percents(accuracies: Sequence[float]) -> list[str]:
    """Return accuracies as text."""
    return [percent(accuracy) for accuracy in accuracies]


def _add_line(
    plot: go.Figure, epochs: Sequence[EpochRecord], values: Sequence[float], texts: Sequence[str], **style: Any
) -> None:
    """Add a line by epoch, whose points show `texts` under the pointer."""
    plot.add_scatter(
        x=[epoch.epoch for epoch in epochs],
        y=list(values),
        text=list(texts),
        hovertemplate="epoch %{x}: %{text}",
        **{"mode": "lines+markers" if len(epochs) <= MOST_MARKERS else "lines", **style},
    )


def _arranged(
    accuracy: go.Figure, loss: go.Figure, rate: go.Figure, records: Sequence[RunRecord]
) -> list[tuple[str, str, go.Figure]]:
    """Set axes and layout of the three figures, in place; return each with its name and title."""
    arrange(accuracy, x="epoch", y="accuracy")
    arrange(loss, x="epoch", y="cross-entropy, nats")
    arrange(rate, x="epoch", y="learning rate")
    rate.update_yaxes(rangemode="tozero")
    for plot in (accuracy, loss, rate):
        plot.update_yaxes(title_standoff=8)
    losses = [value for trace in loss.data for value in trace.y]
    if is_wide(losses):
        ticks = log_ticks(min(losses), max(losses))
        loss.update_yaxes(type="log", tickvals=list(ticks), ticktext=[f"{tick:g}" for tick in ticks])
    epochs = max(len(record.epochs) for record in records)
    for plot in (accuracy, loss, rate):
        if epochs < FEW_EPOCHS:
            plot.update_xaxes(dtick=1)
        if epochs == 1:
            plot.update_xaxes(range=[0.5, 1.5])
    return [("accuracy", "Accuracy", accuracy), ("loss", "Loss", loss), ("lr", "Learning rate", rate)]


def _figure(
    name: str, title: str, plot: go.Figure, *, caption: str, legend: tuple[LegendEntry, ...] = ()
) -> PageFigure:
    return PageFigure(name=name, title=title, caption=caption, plot=plot, legend=legend)


def _last_accuracy(record: RunRecord) -> str:
    return f"After the last epoch: {record.evaluated_on} {percent(record.value)}."


def _short(accuracy: float) -> str:
    return f"{round(accuracy * 100, 6):g} %"
