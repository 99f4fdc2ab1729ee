"""Which data sets there are, and the facts about each that need no data: torch-free, so that `inspect` is quick."""

from dataclasses import dataclass
from typing import Final

from sweeper.config.explaining import nearest
from sweeper.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What the network and the diagnosis must know of a data set."""

    title: str
    """Its name in prose."""
    torchvision_class: str | None
    """Its class in `torchvision.datasets`; ``None`` for the embedded digits."""
    mean: float
    """Mean of the training pixels, as a fraction of 255."""
    std: float
    """Their standard deviation, as a fraction of 255."""
    majority_share: float
    """Share of the training images that the most frequent class has: what guessing reaches."""
    training_images: int = 60_000
    """How many there are, before any are held out."""
    image_shape: tuple[int, int, int] = (1, 28, 28)
    """Channels, height, width."""
    classes: int = 10
    """Number of classes."""


class Catalogue(dict[str, DatasetFacts]):
    """The data sets by config name."""

    def facts(self, name: str) -> DatasetFacts:
        """Return the facts of one. Raises `ConfigError` for an unknown name."""
        if name not in self:
            raise ConfigError(
                f"data.name must be one of {', '.join(self)}, but got {name!r}{nearest(name, list(self))}: "
                "choose with data=..."
            )
        return self[name]


# Means and standard deviations were measured on the 60,000 training images of each set; for MNIST they are the
# figures everyone uses. MNIST's most frequent digit is the 1, 6,742 of 60,000; the others are balanced.
DATASETS: Final = Catalogue(
    mnist=DatasetFacts(title="MNIST", torchvision_class="MNIST", mean=0.1307, std=0.3081, majority_share=0.1124),
    mnist5k=DatasetFacts(
        title="MNIST, 5,000 digits",
        torchvision_class=None,
        mean=0.1307,
        std=0.3081,
        majority_share=0.1,
        training_images=4_000,
    ),
    fashion_mnist=DatasetFacts(
        title="Fashion-MNIST", torchvision_class="FashionMNIST", mean=0.2860, std=0.3530, majority_share=0.1
    ),
    kmnist=DatasetFacts(
        title="Kuzushiji-MNIST", torchvision_class="KMNIST", mean=0.1918, std=0.3483, majority_share=0.1
    ),
)
