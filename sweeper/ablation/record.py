"""The file `ablation.json`: what it says of the base and of each variant, from the runs that are complete."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

from sweeper.ablation.effects import effect, finding
from sweeper.ablation.variants import Variant
from sweeper.errors import RunFolderError
from sweeper.intervals import MeanDifference
from sweeper.replicates.replicate import Replicate
from sweeper.run.folder import RunFolder, write_atomically
from sweeper.untrusted import parse_json, read_text

RECORD: Final = "ablation.json"


@dataclass(frozen=True, kw_only=True)
class VariantRecord:
    """The measurements of the base or of a variant; accuracies are fractions."""

    name: str
    overrides: list[str]
    """What it adds to the base."""
    parameters: int
    macs: int
    """Multiply-accumulates of one image's forward pass."""
    seeds: list[int]
    """The seeds whose runs are complete."""
    val_accuracies: list[float]
    """Of the last epoch, for each of `seeds`."""
    mean: float | None
    """Mean of `val_accuracies`; None without a complete run."""
    sd: float | None
    """Standard deviation over seeds; None for fewer than two."""
    effect: float | None
    """Mean difference from the base, of the seeds that both have; None for the base, and for fewer than two such seeds."""
    ci95: list[float] | None
    """95 % interval of `effect`, low and high."""
    finding: str | None
    """`helps`, `hurts` or `no evidence`; None without an effect."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """An ablation as saved, key by key the content of `ablation.json`."""

    command: str
    """The shell command that makes all of it, from nothing or from what there is."""
    updated: str
    """ISO time of the last change."""
    base: list[str]
    """The base's overrides."""
    dataset: str
    validation_images: int
    epochs: int
    """Epochs of the base."""
    seeds: list[int]
    """All seeds that are asked for, or that a variant has."""
    variants: list[VariantRecord]
    """The base first, then those that the last command gave, in its order, then those kept of earlier commands."""

    @property
    def missing(self) -> int:
        """Number of runs that are not complete."""
        return sum(len(self.seeds) - len(variant.seeds) for variant in self.variants)

    def write(self, folder: Path) -> None:
        """Write the file completely or not at all. Raises `RunFolderError` if that fails."""
        try:
            write_atomically(folder / RECORD, (json.dumps(asdict(self), indent=2) + "\n").encode())
        except OSError as error:
            raise RunFolderError(f"{folder / RECORD} cannot be written ({error.strerror}): make it writable") from error


def read_variants(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the overrides of each variant in a folder's record, by name; empty without a record.

    Raises `RunFolderError` if it is damaged.
    """
    path = folder / RECORD
    try:
        _, *saved = parse_json(read_text(path))["variants"]
        return {str(each["name"]): tuple(map(str, each["overrides"])) for each in saved}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        raise RunFolderError(
            f"{path} must hold an ablation, but is damaged ({reason}): delete it; what was trained is reused for the "
            "variants that are asked for again"
        ) from error


def make_record(
    variants: Sequence[Variant],
    runs: Sequence[Sequence[Replicate]],
    *,
    base: Sequence[str],
    seeds: Sequence[int],
    command: str,
) -> Ablation:
    """Read the complete ones of each variant's `runs`. Raises `RunFolderError` for a damaged one."""
    accuracies: list[dict[int, float]] = []
    images = 0
    for replicates in runs:
        results = {run.conf.seed: RunFolder(run.folder).read_result() for run in replicates if run.is_complete()}
        accuracies.append({seed: result.value for seed, result in results.items() if result is not None})
        images = max([images, *(result.data.validation_images for result in results.values() if result is not None)])
    records = []
    for variant, by_seed in zip(variants, accuracies, strict=True):
        compared = None if variant is variants[0] else effect(accuracies[0], by_seed, images)
        records.append(_record(variant, by_seed, compared))
    return Ablation(
        command=command,
        updated=datetime.now().astimezone().isoformat(timespec="seconds"),
        base=list(base),
        dataset=variants[0].conf.data.name,
        validation_images=images,
        epochs=variants[0].conf.training.epochs,
        seeds=list(seeds),
        variants=records,
    )


def _record(variant: Variant, by_seed: dict[int, float], compared: MeanDifference | None) -> VariantRecord:
    values = list(by_seed.values())
    return VariantRecord(
        name=variant.name,
        overrides=list(variant.overrides),
        parameters=variant.design.summary.parameters,
        macs=variant.design.summary.macs,
        seeds=list(by_seed),
        val_accuracies=values,
        mean=fmean(values) if values else None,
        sd=stdev(values) if len(values) > 1 else None,
        effect=compared.difference if compared else None,
        ci95=[compared.interval.low, compared.interval.high] if compared else None,
        finding=finding(compared) if compared else None,
    )
