"""How a run looks: curves by epoch and its confusion matrix, as PNG files."""

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sweeper.report.record import RunRecord
from sweeper.training.evaluate import Mistakes

# Blue and vermilion of Okabe and Ito's palette, which colour-blind readers can tell apart too.
TRAINING: Final = "#0072B2"
VALIDATION: Final = "#D55E00"
QUIET: Final = "#666666"
INCHES: Final = (11.0, 3.6)
DOTS_PER_INCH: Final = 100

# Every trial of a search is drawn, so what takes long is fixed or left out: margins (a layout engine takes as long again as
# the drawing), the titles' height (another tenth), hard compression of the files (a tenth, for an eighth of their size).
TITLE_HEIGHT: Final = 1.0
FILE: Final = {"compress_level": 1}


def draw_curves(record: RunRecord, path: Path) -> None:
    """Draw loss, accuracy (training with dropout on and, at the end, off; validation; target) and learning rate."""
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH)
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.14, top=0.9, wspace=0.26)
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = [epoch.epoch for epoch in record.epochs]
    many = len(epochs) > 20
    style = {"marker": "" if many else "o", "markersize": 4}

    for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
        for part, colour, name in (
            ("train", TRAINING, "training, dropout on"),
            ("val", VALIDATION, f"{record.judges}, dropout off"),
        ):
            values = [getattr(epoch, f"{part}_{kind}") for epoch in record.epochs]
            axes.plot(epochs, values, color=colour, label=name, **style)
        if record.result is not None:
            measured = record.result[f"train_{kind}_eval"]
            axes.plot(epochs[-1:], [measured], "*", color=TRAINING, markersize=11, label="training, dropout off")
    loss.set_title("Loss", y=TITLE_HEIGHT)
    loss.set_ylabel("cross-entropy, nats")
    accuracy.axhline(record.conf.target, color=QUIET, linestyle="--", linewidth=1, label="target")
    accuracy.set_title("Accuracy", y=TITLE_HEIGHT)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    accuracy.legend(fontsize="small", loc="best")
    rate.plot(epochs, [epoch.lr for epoch in record.epochs], color=QUIET, **style)
    rate.set_title("Learning rate", y=TITLE_HEIGHT)
    rate.set_ylabel("at the epoch's last step")
    rate.set_ylim(bottom=0)
    for axes in (loss, accuracy, rate):
        _by_epoch(axes)
    figure.savefig(path, pil_kwargs=FILE)


def draw_confusion(mistakes: Mistakes, path: Path, *, of: str) -> None:
    """Draw the confusion matrix; what is right stands on the diagonal and is left uncoloured."""
    classes = len(mistakes.confusion)
    wrong = [
        [0 if row == column else n for column, n in enumerate(counts)] for row, counts in enumerate(mistakes.confusion)
    ]
    figure = Figure(figsize=(5.0, 4.8), dpi=DOTS_PER_INCH)
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.1, top=0.93)
    axes = figure.subplots()
    most = max(1, *(n for row in wrong for n in row))
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=most)
    for row, counts in enumerate(mistakes.confusion):
        for column, n in enumerate(counts):
            if n:
                dark = row != column and n > 0.6 * most
                axes.text(column, row, str(n), ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_title(f"What was taken for what: {of} images", y=TITLE_HEIGHT)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_xticks(range(classes))
    axes.set_yticks(range(classes))
    figure.savefig(path, pil_kwargs=FILE)


def _by_epoch(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
