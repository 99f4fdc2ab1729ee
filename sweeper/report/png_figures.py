"""The PNG files of a run's report: curves by epoch and confusion matrix."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from sweeper.records import Mistakes
from sweeper.report.accuracy_axis import AccuracyAxis, is_wide, log_ticks
from sweeper.report.record import RunRecord, during_and_after

# Blue and vermilion of Okabe and Ito's palette, which colour-blind readers can tell apart.
TRAINING: Final = "#0072B2"
VALIDATION: Final = "#D55E00"
QUIET: Final = "#666666"
INCHES: Final = (11.0, 4.0)
DOTS_PER_INCH: Final = 100

# Every trial of a search gets these files, so slow steps are avoided. Empty figures are built once. Margins and title
# height are fixed, because a layout engine takes as long as the rendering itself. Compression is light: it saves a
# tenth of the time and costs an eighth in size.
TITLE_HEIGHT: Final = 1.0
PNG_OPTIONS: Final = {"compress_level": 1}


def plot_curves(record: RunRecord, path: Path) -> None:
    """Plot loss, accuracy and learning rate by epoch, the target, and training loss and accuracy with dropout off."""
    figure, (loss, accuracy, rate) = _empty_curves()
    epochs = [epoch.epoch for epoch in record.epochs]
    many = len(epochs) > 20
    style: dict[str, Any] = {"marker": "" if many else "o", "markersize": 4}
    for axes in (loss, accuracy, rate):
        _clear(axes)

    result = record.result
    shown = [value for epoch in record.epochs for value in (epoch.val_accuracy, epoch.train_accuracy)]
    shown += [record.conf.target, *([result.train_accuracy_eval] if result is not None else [])]
    scale = AccuracyAxis.of(shown, images=record.images)
    losses = [value for epoch in record.epochs for value in (epoch.val_loss, epoch.train_loss)]
    during, after = during_and_after(has_dropout=record.has_dropout)
    for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
        place: Callable[[float], float] = scale.place if kind == "accuracy" else float
        for part, colour, name in (
            ("train", TRAINING, f"training, {during}"),
            ("val", VALIDATION, record.evaluated_on),
        ):
            values = [place(getattr(epoch, f"{part}_{kind}")) for epoch in record.epochs]
            axes.plot(epochs, values, color=colour, label=name, **style)
        if result is not None:
            measured = place(getattr(result, f"train_{kind}_eval"))
            axes.plot(epochs[-1:], [measured], "*", color=TRAINING, markersize=11, label=f"training, {after}")
    accuracy.axhline(scale.place(record.conf.target), color=QUIET, linestyle="--", linewidth=1, label="target")
    _set_log_ticks(accuracy, scale.ticks, scale.labels)
    accuracy.set_ylim(scale.high, scale.low)
    if is_wide(losses):
        loss.set_yscale("log")
        ticks = log_ticks(min(losses), max(losses))
        _set_log_ticks(loss, ticks, [f"{tick:g}" for tick in ticks])
    else:
        loss.set_yscale("linear")
    # Below the plot: inside it, every place may hold a line.
    accuracy.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    rate.plot(epochs, [epoch.lr for epoch in record.epochs], color=QUIET, **style)
    rate.set_ylim(bottom=0)
    figure.savefig(path, pil_kwargs=PNG_OPTIONS)


def plot_confusion(mistakes: Mistakes, path: Path, *, evaluated_on: str) -> None:
    """Plot the confusion matrix. The diagonal, correct predictions, has no colour; `evaluated_on` is for the title."""
    figure, axes = _empty_confusion(len(mistakes.confusion))
    _clear(axes)
    wrong = [
        [0 if row == column else n for column, n in enumerate(counts)] for row, counts in enumerate(mistakes.confusion)
    ]
    most = max(1, *(n for row in wrong for n in row))
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=most)
    for row, counts in enumerate(mistakes.confusion):
        for column, n in enumerate(counts):
            if n:
                dark = row != column and n > 0.6 * most
                axes.text(column, row, str(n), ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_title(f"Confusion matrix: {evaluated_on} images", y=TITLE_HEIGHT)
    figure.savefig(path, pil_kwargs=PNG_OPTIONS)


@functools.cache
def _empty_curves() -> tuple[Figure, tuple[Axes, Axes, Axes]]:
    figure = _empty_figure(INCHES)
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.24, top=0.91, wspace=0.28)
    loss, accuracy, rate = figure.subplots(1, 3)
    accuracy.set_yscale("log")
    for axes, title, unit in (
        (loss, "Loss", "cross-entropy, nats"),
        (accuracy, "Accuracy", "log scale of the error"),
        (rate, "Learning rate", "at the epoch's last step"),
    ):
        axes.set_title(title, y=TITLE_HEIGHT)
        axes.set(xlabel="epoch", ylabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, (loss, accuracy, rate)


@functools.cache
def _empty_confusion(classes: int) -> tuple[Figure, Axes]:
    figure = _empty_figure((5.0, 4.8))
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.1, top=0.93)
    axes = figure.subplots()
    axes.set(xlabel="predicted class", ylabel="true class", xticks=range(classes), yticks=range(classes))
    return figure, axes


def _empty_figure(inches: tuple[float, float]) -> Figure:
    """Return a figure with its own canvas: without it, every save creates a canvas and renders all text again."""
    figure = Figure(figsize=inches, dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    return figure


def _set_log_ticks(axes: Axes, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axes.yaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.yaxis.set_major_formatter(FixedFormatter(list(labels)))
    axes.yaxis.set_minor_locator(NullLocator())


def _clear(axes: Axes) -> None:
    """Remove plotted data and their axis limits; the ticks, which are slowest to build, are kept."""
    for artist in (*axes.lines, *axes.images, *axes.texts):
        artist.remove()
    axes.relim()
    axes.autoscale()
