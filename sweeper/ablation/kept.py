"""Decides what an ablation reports: the variants that are asked for, and those of earlier commands with the same base."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sweeper.ablation.record import read_variants
from sweeper.ablation.variants import Variant, check_comparable, folder_name, make_variant
from sweeper.errors import SweeperError
from sweeper.replicates.replicate import NamedConfig, Replicate, complete_replicates


def replicated(variant: Variant) -> NamedConfig:
    """Return a variant's config to train with several seeds."""
    return NamedConfig(name=folder_name(variant.name), conf=variant.conf)


def complete_runs(folder: Path, asked: Sequence[Variant], base: Sequence[str]) -> list[tuple[Variant, list[Replicate]]]:
    """Return each variant with its complete runs, of any seed: those that are asked for, then the kept ones.

    A variant of the folder's record is kept if it has a complete run with the same `base`, the base's overrides.
    Raises `RunFolderError` if the record is damaged.
    """
    found = [(variant, complete_replicates(folder, replicated(variant))) for variant in asked]
    names = {variant.name for variant in asked}
    for name, overrides in read_variants(folder).items():
        if name in names:
            continue
        with suppress(SweeperError):  # it does not fit this base
            variant = make_variant(name, base, overrides)
            check_comparable(variant, asked[0])
            runs = complete_replicates(folder, replicated(variant))
            found += [(variant, runs)] if runs else []
    return found
