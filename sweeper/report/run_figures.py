"""Figures of one run, or of several over each other."""

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from sweeper.records import Mistakes
from sweeper.report.page_figure import BLUE, GREEN, GREY, ORANGE, PageFigure, arrange
from sweeper.report.record import RunRecord


def run_figures(records: Sequence[RunRecord], names: Sequence[str]) -> list[PageFigure]:
    """Draw the epochs of one run, or of several over each other."""
    colours = [BLUE, ORANGE, GREEN, "#a371f7", "#d4a72c", "#cf5b9e", "#1b9e9e", GREY]
    drawn = []
    for kind, title, axis in (("accuracy", "Accuracy", "accuracy"), ("loss", "Loss", "cross-entropy, nats")):
        figure = go.Figure()
        for at, (record, name) in enumerate(zip(records, names, strict=True)):
            epochs = [epoch.epoch for epoch in record.epochs]
            colour = colours[at % len(colours)]
            for part, dash, words in (("val", "solid", record.judges), ("train", "dot", "training, dropout on")):
                values = [getattr(epoch, f"{part}_{kind}") for epoch in record.epochs]
                label = words if len(records) == 1 else f"{html.escape(name)}, {words}"
                of_one = ORANGE if part == "val" else BLUE
                line = {"color": of_one if len(records) == 1 else colour, "dash": dash}
                figure.add_scatter(x=epochs, y=values, name=label, mode="lines+markers", line=line)
            if len(records) == 1 and record.result is not None:
                measured = [getattr(record.result, f"train_{kind}_eval")]
                marker = {"symbol": "star", "size": 12, "color": BLUE}
                figure.add_scatter(
                    x=epochs[-1:], y=measured, name="training, dropout off", mode="markers", marker=marker
                )
        if kind == "accuracy":
            for target in dict.fromkeys(record.conf.target for record in records):
                figure.add_hline(
                    target,
                    line={"color": GREY, "dash": "dash"},
                    annotation_text="target",
                    annotation_position="top left",
                )
            figure.update_yaxes(tickformat=".1%")
        arrange(figure, x="epoch", y=axis)
        _count_epochs(figure, records)
        last = ", ".join(
            f"{record.judges if len(records) == 1 else name} {getattr(record.epochs[-1], f'val_{kind}'):{'.2%' if kind == 'accuracy' else '.4f'}}"
            for record, name in zip(records, names, strict=True)
        )
        drawn.append(PageFigure(name=kind, title=title, caption=f"After the last epoch: {last}.", figure=figure))
    figure = go.Figure()
    for at, (record, name) in enumerate(zip(records, names, strict=True)):
        rates = [epoch.lr for epoch in record.epochs]
        line = {"color": colours[at % len(colours)]}
        figure.add_scatter(
            x=[e.epoch for e in record.epochs], y=rates, name=html.escape(name), mode="lines+markers", line=line
        )
    arrange(figure, x="epoch", y="learning rate")
    figure.update_layout(showlegend=len(records) > 1)
    figure.update_yaxes(rangemode="tozero")
    _count_epochs(figure, records)
    caption = "The learning rate of each epoch's last step."
    return [*drawn, PageFigure(name="lr", title="Learning rate", caption=caption, figure=figure)]


def confusion_figure(mistakes: Mistakes, *, judges: str) -> PageFigure:
    """Draw the confusion matrix; what is right is left uncoloured."""
    size = range(len(mistakes.confusion))
    wrong = [
        [n if row != column else 0 for column, n in enumerate(counts)] for row, counts in enumerate(mistakes.confusion)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=wrong,
            x=[str(label) for label in size],
            y=[str(label) for label in size],
            text=[[str(n) if n else "" for n in counts] for counts in mistakes.confusion],
            texttemplate="%{text}",
            # At its darkest still light enough for dark figures on a light page, and the other way round.
            colorscale=[[0, "rgba(224,112,42,0)"], [1, "rgba(224,112,42,0.6)"]],
            showscale=False,
            hovertemplate="a %{y} taken for a %{x}: %{text}<extra></extra>",
        )
    )
    arrange(figure, x="predicted class", y="true class")
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, dtick=1)
    figure.update_xaxes(showgrid=False, zeroline=False, dtick=1)
    count = sum(map(sum, wrong))
    total = sum(map(sum, mistakes.confusion))
    most, row, column = max((n, row, column) for row, counts in enumerate(wrong) for column, n in enumerate(counts))
    worst = f"; most often, {most} times, a {row} was taken for a {column}" if count else ""
    caption = f"{count:,} of {total:,} {judges} images were taken for another class{worst}."
    return PageFigure(name="confusion", title="What was taken for what", caption=caption, figure=figure)


def _count_epochs(figure: go.Figure, records: Sequence[RunRecord]) -> None:
    """Mark every epoch, where there is room for that; a single one stands in the middle."""
    epochs = max(len(record.epochs) for record in records)
    if epochs < 16:
        figure.update_xaxes(dtick=1)
    if epochs == 1:
        figure.update_xaxes(range=[0.5, 1.5])
