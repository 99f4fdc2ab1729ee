"""The argument parser of all commands: argparse that raises `UsageError` instead of exiting, and numbers with bounds."""

import argparse
from collections.abc import Callable
from typing import Final, NoReturn

from sweeper.config.origin import Origin
from sweeper.errors import UsageError
from sweeper.shell import sweeper_command

COUNTS: Final = (1, 1000)
"""Bounds of the number of seeds, configs and workers."""


class Parser(argparse.ArgumentParser):
    """Argument parser of one command."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` in one line, where argparse would print its usage and exit."""
        raise UsageError(f"{message}: see {sweeper_command(*self.prog.split()[1:], '--help')}")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add Hydra's options that choose a config; `origin_of` returns what they name."""
    group = parser.add_argument_group("configs of your own, as for a run")
    group.add_argument("--config-dir", "-cd", metavar="DIR", help="folder with more config files than conf/ has")
    group.add_argument("--config-path", "-cp", metavar="DIR", help="folder of configs in place of conf/")
    group.add_argument("--config-name", "-cn", metavar="NAME", help="config in place of config.yaml")


def origin_of(options: argparse.Namespace) -> Origin:
    """Return where configs are composed from. Raises `CompositionError` for a folder that does not exist."""
    return Origin(
        config_dir=options.config_dir, config_path=options.config_path, config_name=options.config_name
    ).checked()


def count(low: int = COUNTS[0], high: int = COUNTS[1]) -> Callable[[str], int]:
    """Return a reader of whole numbers from `low` to `high`, for argparse's `type`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be {low} to {high}, but got {text!r}")
        return int(text)

    return read


def counts(text: str) -> list[int]:
    """Read a comma-separated list of whole numbers from 1 on, for argparse's `type`."""
    return [count()(part) for part in text.split(",")]


def minutes(text: str) -> float:
    """Read a number of minutes, for argparse's `type`."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"must be 0.1 to 10000, but got {text!r}")
    return value
