"""Decides how TensorBoard shows a run's mistakes: the confusion matrix, and the worst mistakes as images."""

from matplotlib.figure import Figure
from torch import Tensor

from sweeper.records import Mistake, Mistakes

INCHES_PER_IMAGE = 1.1
COLUMNS = 5


def confusion_figure(mistakes: Mistakes) -> Figure:
    """Return the confusion matrix. The diagonal, correct predictions, has no colour."""
    figure = Figure(figsize=(5, 4.8), layout="constrained")
    axes = figure.subplots()
    counts = mistakes.confusion
    wrong = [[0 if row == column else n for column, n in enumerate(line)] for row, line in enumerate(counts)]
    most = max(1, *(n for line in wrong for n in line))
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=most)
    for row, line in enumerate(counts):
        for column, n in enumerate(line):
            if n:
                color = "white" if row != column and n > 0.6 * most else "black"
                axes.text(column, row, str(n), ha="center", va="center", fontsize=7, color=color)
    axes.set(xlabel="predicted class", ylabel="true class", xticks=range(len(counts)), yticks=range(len(counts)))
    return figure


def worst_figure(worst: list[Mistake], images_nhw: Tensor) -> Figure:
    """Return the mistakes' images, each with its true class, the predicted one and the true one's probability.

    `images_nhw` are all images of the file that the mistakes' indices count.
    """
    rows = -(-len(worst) // COLUMNS)
    size = (COLUMNS * INCHES_PER_IMAGE, rows * (INCHES_PER_IMAGE + 0.4))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, mistake in zip(grid.flat, worst, strict=False):
        axes.imshow(images_nhw[mistake.index].cpu().numpy(), cmap="gray_r")
        axes.set_title(
            f"{mistake.label}, predicted {mistake.predicted}\np({mistake.label}) = {100 * mistake.probability:.1f} %",
            fontsize=6,
        )
    return figure
