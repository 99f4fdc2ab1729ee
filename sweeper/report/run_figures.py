"""The figures of a run's page, and of a page that compares several runs in the same plots."""

import html
from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from sweeper.records import Mistakes
from sweeper.report.page_figure import BLUE, FEW_EPOCHS, GREEN, GREY, ORANGE, PageFigure, arrange
from sweeper.report.record import RunRecord

COLOURS: Final = [BLUE, ORANGE, GREEN, "#a371f7", "#d4a72c", "#cf5b9e", "#1b9e9e", GREY]
"""The colours of several runs in one plot."""


def run_figures(records: Sequence[RunRecord], names: Sequence[str]) -> list[PageFigure]:
    """Return the figures of accuracy, loss and learning rate by epoch; `names` has one name per run, for the legend."""
    return [
        _metric("accuracy", "Accuracy", "accuracy", records, names),
        _metric("loss", "Loss", "cross-entropy, nats", records, names),
        _learning_rate(records, names),
    ]


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


def _metric(kind: str, title: str, axis: str, records: Sequence[RunRecord], names: Sequence[str]) -> PageFigure:
    """Return a metric of training and validation by epoch: a colour for each, or one per run if there are several."""
    plot = go.Figure()
    is_single = len(records) == 1
    for index, (record, name) in enumerate(zip(records, names, strict=True)):
        epochs = [epoch.epoch for epoch in record.epochs]
        for part, dash, label in (("val", "solid", record.evaluated_on), ("train", "dot", "training, dropout on")):
            colour = COLOURS[index % len(COLOURS)] if not is_single else ORANGE if part == "val" else BLUE
            plot.add_scatter(
                x=epochs,
                y=[getattr(epoch, f"{part}_{kind}") for epoch in record.epochs],
                name=label if is_single else f"{html.escape(name)}, {label}",
                mode="lines+markers",
                line={"color": colour, "dash": dash},
            )
        if is_single and record.result is not None:
            plot.add_scatter(
                x=epochs[-1:],
                y=[getattr(record.result, f"train_{kind}_eval")],
                name="training, dropout off",
                mode="markers",
                marker={"symbol": "star", "size": 12, "color": BLUE},
            )
    if kind == "accuracy":
        for target in dict.fromkeys(record.conf.target for record in records):
            plot.add_hline(
                target,
                line={"color": GREY, "dash": "dash"},
                annotation_text="target",
                annotation_position="top left",
            )
        plot.update_yaxes(tickformat=".1%")
    arrange(plot, x="epoch", y=axis)
    _tick_epochs(plot, records)
    form = ".2%" if kind == "accuracy" else ".4f"
    last = ", ".join(
        f"{record.evaluated_on if is_single else name} {getattr(record.epochs[-1], f'val_{kind}'):{form}}"
        for record, name in zip(records, names, strict=True)
    )
    return PageFigure(name=kind, title=title, caption=f"After the last epoch: {last}.", plot=plot)


def _learning_rate(records: Sequence[RunRecord], names: Sequence[str]) -> PageFigure:
    plot = go.Figure()
    for index, (record, name) in enumerate(zip(records, names, strict=True)):
        plot.add_scatter(
            x=[epoch.epoch for epoch in record.epochs],
            y=[epoch.lr for epoch in record.epochs],
            name=html.escape(name),
            mode="lines+markers",
            line={"color": COLOURS[index % len(COLOURS)]},
        )
    arrange(plot, x="epoch", y="learning rate")
    plot.update_layout(showlegend=len(records) > 1)
    plot.update_yaxes(rangemode="tozero")
    _tick_epochs(plot, records)
    caption = "The learning rate of each epoch's last step."
    return PageFigure(name="lr", title="Learning rate", caption=caption, plot=plot)


def _tick_epochs(plot: go.Figure, records: Sequence[RunRecord]) -> None:
    """Set a tick at every epoch if there are few; centre a single epoch."""
    epochs = max(len(record.epochs) for record in records)
    if epochs < FEW_EPOCHS:
        plot.update_xaxes(dtick=1)
    if epochs == 1:
        plot.update_xaxes(range=[0.5, 1.5])
