"""Decides whether two runs are compared image by image, and returns the noise of their difference."""

from pathlib import Path

from sweeper.errors import RunFolderError
from sweeper.records import Mistakes
from sweeper.run.folder import RunFolder
from sweeper.statistics import Noise, difference_noise


def runs_noise(
    accuracies: tuple[float, float], mistakes: tuple[Mistakes | None, Mistakes | None], images: int, *, chances: int = 1
) -> Noise:
    """Return the noise of the difference of two runs' accuracies, fractions of the same `images` images.

    It is paired if both runs saved every misclassified image, and as many as their accuracies say: earlier versions
    did not, and a file may belong to another run. `chances` is that of `difference_noise`.
    """
    first, second = (_wrong(*run, images) for run in zip(accuracies, mistakes, strict=True))
    discordant = None if first is None or second is None else len(first ^ second)
    return difference_noise(*accuracies, images, discordant=discordant, chances=chances)


def read_mistakes(folder: Path) -> Mistakes | None:
    """Read a run's mistakes; None without a readable file: the comparison then does without."""
    try:
        return RunFolder(folder).read_mistakes()
    except RunFolderError:
        return None


def _wrong(accuracy: float, mistakes: Mistakes | None, images: int) -> set[int] | None:
    """Return the positions of the misclassified images; None if they are not known."""
    if mistakes is None or mistakes.wrong is None or len(mistakes.wrong) != round((1 - accuracy) * images):
        return None
    return set(mistakes.wrong)
