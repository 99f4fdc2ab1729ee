"""Decides what an ablation compares: the base and its variants, each a checked config, from what was typed."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import yaml

from sweeper.config.composition import compose
from sweeper.config.explaining import nearest
from sweeper.config.origin import conf_dir
from sweeper.config.schema import ExperimentConf
from sweeper.design import Design, analyze_within_budget
from sweeper.errors import BudgetError, ConfigError, UsageError

ALL: Final = "all"
"""The argument that stands for every ingredient."""
BASE: Final = "base"
"""The name of the config that the variants are compared with."""
INGREDIENTS: Final = "ingredients.yaml"
"""The file in conf/ that names the built-in variants."""
LONGEST_NAME: Final = 80
"""Most characters of a folder's name."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A config to train: the base, or the base with a change."""

    name: str
    """For display, and as a folder's name: unique in an ablation."""
    overrides: tuple[str, ...]
    """What it adds to the base's overrides; empty for the base."""
    conf: ExperimentConf
    design: Design


def ingredients() -> dict[str, tuple[str, ...]]:
    """Read the built-in variants: the overrides of each by its name."""
    saved = yaml.safe_load((conf_dir() / INGREDIENTS).read_text())
    return {str(name): tuple(shlex.split(overrides)) for name, overrides in saved.items()}


def make_variants(base: Sequence[str], arguments: Sequence[str]) -> list[Variant]:
    """Return the base and the variants that the arguments ask for, in order.

    An argument is `all`, an ingredient's name, or overrides separated by spaces, with ``NAME:`` before them or without.
    `all` leaves out the ingredients that the base has already.

    Raises `UsageError` for an argument that is none of these, for a base that is no overrides, or for two variants of
    one name; `ConfigError` for overrides that do not compose, a variant that equals the base, or data that differ from
    the base's or are the test set; `BudgetError` for a network over its budget.
    """
    for word in filter(_is_no_override, base):
        raise UsageError(
            f"the base must be overrides key=value, but got {word!r}: leave no spaces around =, put variants after --variants"
        )
    for word in base:
        key = word.lstrip("+~").partition("=")[0]
        if key == "search" or (key.startswith(("hydra.", "hydra/")) and key != "hydra.searchpath"):
            raise UsageError(
                f"the base must be a config to train, but {word} only applies with -m or to Hydra: leave it out"
            )
    first = make_variant(BASE, base, ())
    if first.conf.data.validation == "test":
        raise ConfigError(
            "an ablation compares validation accuracies, but data.validation=test validates on the test set: "
            "use data.validation=split"
        )
    variants = [first]
    for argument in arguments:
        asked = ingredients() if argument == ALL else dict([_parse(argument)])
        for name, overrides in asked.items():
            variant = make_variant(name, base, overrides)
            if variant.conf == first.conf and argument == ALL:
                continue
            check_comparable(variant, first)
            if name in {other.name for other in variants}:
                raise UsageError(
                    f"each variant needs a name of its own, but two are called {name}: rename one, NAME:..."
                )
            variants.append(variant)
    return variants


def make_variant(name: str, base: Sequence[str], overrides: tuple[str, ...]) -> Variant:
    """Return the variant of a base's overrides with `overrides` added.

    Raises `ConfigError` or `BudgetError` if its config is not valid, with the variant's name.
    """
    try:
        conf = compose([*base, *overrides])
        return Variant(name=name, overrides=overrides, conf=conf, design=analyze_within_budget(conf))
    except BudgetError as error:
        hint = "" if name == BASE else "; or lift the limit with budget=unlimited before --variants"
        raise BudgetError(f"{_of(name)}{error}{hint}") from error
    except ConfigError as error:
        raise type(error)(f"{_of(name)}{error}") from error


def check_comparable(variant: Variant, base: Variant) -> None:
    """Raise `ConfigError` for a variant that differs from the base in nothing, or in its images."""
    if replace(variant.conf, seed=base.conf.seed) == base.conf:
        raise ConfigError(f"a variant must change something besides the seed, but {variant.name} equals the base")
    if variant.conf.data != base.conf.data:
        raise ConfigError(
            f"variants must be validated on the base's images, but {variant.name} changes data: "
            "put data overrides before --variants"
        )


def to_argument(variant: Variant) -> str:
    """Return the argument that asks for a variant: `make_variants` takes it back to the same name and overrides."""
    overrides = shlex.join(variant.overrides)
    return overrides if variant.name == " ".join(variant.overrides) else f"{variant.name}: {overrides}"


def _parse(argument: str) -> tuple[str, tuple[str, ...]]:
    """Return the name and the overrides of one argument."""
    named = re.fullmatch(r"\s*([\w.-]+):\s*(.*)", argument)
    if not named and (wrong := re.match(r"([^=:~@]*):", argument)):
        raise UsageError(
            f"a variant's name must be one word of letters, digits, and any of _ . -, but got {wrong[1]!r} in {argument!r}"
        )
    name, text = (named[1], named[2]) if named else ("", argument)
    try:
        overrides = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"a variant must have its quotes closed, but got {argument!r}") from error
    if len(overrides) == 1 and "=" not in overrides[0] and not overrides[0].startswith("~"):
        built_in = ingredients()
        if overrides[0] not in built_in:
            names = [ALL, *built_in]
            raise UsageError(
                f"a variant must be overrides or one of {', '.join(names)}, but got {overrides[0]!r}"
                f"{nearest(overrides[0], names)}"
            )
        return name or overrides[0], built_in[overrides[0]]
    if not overrides:
        raise UsageError(f"a variant must be overrides such as training.ema=0.99, but got {argument!r}")
    for word in filter(_is_no_override, overrides):
        raise UsageError(
            f"a variant must be overrides key=value or one ingredient alone, but got {word!r} in {argument!r}: leave no "
            "spaces around =, put a value with spaces in inner quotes"
        )
    return name or " ".join(overrides), overrides


def _is_no_override(word: str) -> bool:
    return "=" not in word and not word.startswith("~")


def _of(name: str) -> str:
    return "" if name == BASE else f"variant {name}: "


def folder_name(text: str) -> str:
    """Return text as a folder's name: other characters become ``_``, and a checksum replaces the end of a long text.

    >>> folder_name("model.groups.block2.channels=[12, 12]")
    'model.groups.block2.channels=_12_12_'
    """
    name = re.sub(r"[^\w.=+-]+", "_", text).lstrip(".") or "_"
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"
