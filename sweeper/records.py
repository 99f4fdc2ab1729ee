"""The measurements of a run as plain dataclasses, as files store them: epochs, mistakes and the result. No torch."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Final, Self, get_args, get_origin, get_type_hints

TRAIN_EVAL_IMAGES: Final = 10_000
"""Number of training images, from the first on, that measure the accuracy with dropout off after the last epoch."""


class _Record:
    """A dataclass of plain values that is saved as one JSON object."""

    __slots__ = ()

    @classmethod
    def from_json(cls, saved: object) -> Self:
        """Convert parsed JSON to the record. Unknown keys are ignored: a later version may add some.

        Raises `ValueError` naming the first key that is missing or has another type.
        """
        record = _read(cls, saved, "")
        assert isinstance(record, cls)
        return record


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord(_Record):
    """One epoch's measurements: a line of `metrics.jsonl`. Accuracies are fractions, losses are in nats."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch, measured while training: dropout, augmentation and label smoothing are on."""
    train_accuracy: float
    """Measured likewise."""
    val_loss: float
    """After the epoch, with dropout off."""
    val_accuracy: float
    """Measured likewise."""
    lr: float
    """Learning rate of the last step."""
    seconds: float
    """Duration of training and validation together."""
    images_per_second: float
    """Training images per second of training time, without validation."""
    val_changed: int | None = None
    """Number of validation images that became right or wrong since the epoch before; None for the first epoch, without
    validation, and in the records of earlier versions. With the two accuracies it gives McNemar's counts of the two epochs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchProgress:
    """Progress within an epoch; means are over the epoch so far."""

    epoch: int
    """From 1."""
    images: int
    """Images seen so far in this epoch."""
    images_total: int
    """Images in the whole epoch."""
    loss: float
    """Mean training loss, nats."""
    accuracy: float
    """Mean training accuracy, a fraction."""
    images_per_second: float
    """Mean training speed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake(_Record):
    """One misclassified image."""

    index: int
    """Its position in the dataset's training file, or in its test file with `data.validation=test`."""
    label: int
    """Its true class."""
    predicted: int
    """The class with the highest score."""
    probability: float
    """Predicted probability of the true class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistakes:
    """The validation predictions of the network after the last epoch: `mistakes.json`."""

    confusion: list[list[int]]
    """Counts, ``[true class][predicted class]``."""
    worst: list[Mistake]
    """The mistakes with the highest loss, in decreasing order."""
    wrong: dict[int, int] | None = None
    """Every misclassified image: its position as in `Mistake.index`, and the class it was predicted as. Runs with the same
    validation images are compared image by image. None in the records of earlier versions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionsRecord:
    """The versions of the software that computed a run."""

    python: str
    torch: str
    sweeper: str
    git_commit: str | None
    """Commit of sweeper's own checkout; None for an installed package."""
    git_dirty: bool | None
    """Whether that checkout had uncommitted changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRecord:
    """The images a run used."""

    name: str
    """The dataset's name in the config."""
    sha256: str
    """Checksum of all its training images and labels, before the split."""
    train_images: int
    """Number of images trained on."""
    validation_images: int
    """Number of images validated on."""
    validation_is_test: bool
    """Whether the test set was the validation set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult(_Record):
    """The result of a run that reached its last epoch or its limit of time: `result.json`, key by key.

    Accuracies are fractions.
    """

    value: float
    """Validation accuracy of the last epoch, never of the best one. A search maximizes it."""
    target: float
    """`ExperimentConf.target`."""
    target_met: bool
    """Whether `value` reached `target`."""
    val_accuracy: float
    """Of the last epoch: equals `value`."""
    val_loss: float
    """Of the last epoch, nats."""
    best_val_accuracy: float
    best_epoch: int
    """The first epoch with `best_val_accuracy`, from 1."""
    train_accuracy: float
    """Of the last epoch, measured while training: dropout on."""
    train_accuracy_eval: float
    """After training, with dropout off, on the first 10,000 training images."""
    train_loss_eval: float
    """Measured likewise, nats."""
    parameters: int
    macs: int
    """Multiply-accumulates of one image's forward pass."""
    epochs: int
    """Number of epochs trained."""
    seed: int
    weights_sha256: str
    """Checksum of the state dict's names and bytes."""
    versions: VersionsRecord
    device: str
    """`cpu` or `cuda`."""
    precision: str
    """`fp32` or `bf16`."""
    threads: int
    """Intra-op threads of torch."""
    data: DataRecord
    seconds: float
    """From the start of the run to the writing of its result."""
    timed_out: bool = False
    """Whether `training.timeout` ended the training before the last of its `training.epochs`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefitResult(_Record):
    """The result of a run on all training images, without validation: `refit.json`, key by key."""

    train_accuracy: float
    """Of the last epoch, measured while training: dropout on; a fraction."""
    train_loss: float
    """Measured likewise, nats."""
    parameters: int
    macs: int
    """Multiply-accumulates of one image's forward pass."""
    epochs: int
    """Number of epochs."""
    seed: int
    weights_sha256: str
    """Checksum of the state dict's names and bytes."""
    versions: VersionsRecord
    device: str
    """`cpu` or `cuda`."""
    precision: str
    """`fp32` or `bf16`."""
    threads: int
    """Intra-op threads of torch."""
    data: DataRecord
    seconds: float
    """From the start of the run to the writing of its result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedTestResult(_Record):
    """The accuracy of a refit network on the test set, which was opened once for its weights: `test.json`."""

    weights_sha256: str
    """Checksum of the weights, read from the file."""
    accuracy: float
    """A fraction."""
    images: int
    """Number of test images."""
    wrong: list[int]
    """Positions in the test file of the misclassified images, in order: networks are compared image by image."""


_JSON_NAMES: Final[dict[type, str]] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    NoneType: "null",
    list: "an array",
    dict: "an object",
}


def _read(record: type[Any], saved: object, key: str) -> Any:
    """Convert parsed JSON to a record and its nested records. `key` is the dotted key of `saved`, empty at the root."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"{key or 'its content'} is {_json_name(saved)}, not an object")  # noqa: TRY004 - all damage is a ValueError
    hints = get_type_hints(record)
    values = {}
    for field in fields(record):
        path, hint = f"{key}.{field.name}" if key else field.name, hints[field.name]
        if field.name not in saved:
            if field.default is not MISSING:
                continue  # a key that a later version added
            raise ValueError(f"{path} is missing")
        value = saved[field.name]
        values[field.name] = (
            _read(hint, value, path) if isinstance(hint, type) and is_dataclass(hint) else _checked(hint, value, path)
        )
    return record(**values)


def _checked(hint: Any, value: object, key: str) -> object:
    """Return the value if it has the annotated type, else raise `ValueError`. A float field accepts a JSON integer."""
    hints = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kinds: tuple[type, ...] = tuple(get_origin(kind) or kind for kind in hints)
    accepted = (*kinds, int) if float in kinds else kinds
    # Python counts a bool as an int.
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(_JSON_NAMES[kind] for kind in kinds)
        raise ValueError(f"{key} is {_json_name(value)}, not {expected}")
    return value


def _json_name(value: object) -> str:
    return _JSON_NAMES.get(type(value), type(value).__name__)
