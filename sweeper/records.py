"""What a run, an epoch and a result are: plain data, without torch, as files keep it and reports read it."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_type_hints


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """What one epoch measured: a line of `metrics.jsonl`. Accuracies are fractions, losses nats."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch as training saw it: dropout, augmentation and label smoothing on."""
    train_accuracy: float
    """Likewise."""
    val_loss: float
    """After the epoch, dropout off."""
    val_accuracy: float
    """Likewise."""
    lr: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """Training and validation together."""
    images_per_second: float
    """Training images, training time alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchProgress:
    """How far an epoch has come; means are over the epoch so far."""

    epoch: int
    """From 1."""
    images: int
    """Seen so far in this epoch."""
    images_total: int
    """In the whole epoch."""
    loss: float
    """Mean, nats."""
    accuracy: float
    """Mean, a fraction."""
    images_per_second: float
    """Mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One image that was predicted as another class."""

    index: int
    """Its position in the data set's file of training images, or of test images where those validate."""
    label: int
    """Its true class."""
    predicted: int
    """The class with the highest score."""
    probability: float
    """What the network gave the true class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistakes:
    """What the last epoch's network predicted for the validation images: `mistakes.json`."""

    confusion: list[list[int]]
    """Counts, ``[true class][predicted class]``."""
    worst: list[Mistake]
    """The mistakes with the highest loss, the worst first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionsRecord:
    """What computed a run."""

    python: str
    torch: str
    sweeper: str
    git_commit: str | None
    """Of sweeper's own checkout; None for an installed package."""
    git_dirty: bool | None
    """Whether that checkout had changes that were not committed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRecord:
    """Which images a run saw."""

    name: str
    """The data set's name in the config."""
    sha256: str
    """Checksum of all its training images, before the split."""
    train_images: int
    validation_images: int
    validation_is_test: bool
    """Whether the test set was the validation set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a run that reached its last epoch measured: `result.json`, key by key. Accuracies are fractions."""

    value: float
    """The last epoch's validation accuracy; never the best epoch's. What a search maximizes."""
    target: float
    target_met: bool
    """Whether `value` reached `target`."""
    val_accuracy: float
    """The last epoch's, as `value`."""
    val_loss: float
    """The last epoch's, nats."""
    best_val_accuracy: float
    best_epoch: int
    """The first epoch with that accuracy, from 1."""
    train_accuracy: float
    """The last epoch's, as training saw it: dropout on."""
    train_accuracy_eval: float
    """At the end, dropout off, on the first training images."""
    train_loss_eval: float
    """Likewise, nats."""
    parameters: int
    macs: int
    """Multiply-accumulates of one image's forward pass."""
    epochs: int
    """How many."""
    seed: int
    weights_sha256: str
    """Names and bytes of the state dict."""
    versions: VersionsRecord
    device: str
    precision: str
    threads: int
    data: DataRecord
    seconds: float
    """From the start of the run to this record."""

    @classmethod
    def from_json(cls, saved: object) -> Self:
        """Read what `result.json` holds; keys that later versions add are passed over.

        Raises `ValueError` naming the first key that is missing or of another type.
        """
        plain = _checked(cls, saved, "")
        plain["versions"] = VersionsRecord(**_checked(VersionsRecord, plain["versions"], "versions."))
        plain["data"] = DataRecord(**_checked(DataRecord, plain["data"], "data."))
        return cls(**plain)


def _checked(record: type, saved: object, prefix: str) -> dict[str, Any]:
    """Return the record's own keys of what was saved, each of its type; nested records are left to the caller."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"{prefix or 'it'} must be a mapping, but is {type(saved).__name__}")  # noqa: TRY004 - one error for every damage
    hints, plain = get_type_hints(record), {}
    for field in fields(record):
        key, value = f"{prefix}{field.name}", saved.get(field.name, MISSING)
        if value is MISSING:
            raise ValueError(f"{key} is missing")
        hint = hints[field.name]
        kinds: tuple[type, ...] = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if kinds[0] in {VersionsRecord, DataRecord}:
            kinds = (Mapping,)
        elif float in kinds:
            kinds = (*kinds, int)
        # A bool is an int in Python, but never one of ours.
        is_right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        if not is_right:
            expected = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
            raise ValueError(f"{key} must be {expected}, but is {type(value).__name__}")
        plain[field.name] = value
    return plain
