"""The argument parser of all commands: argparse that raises `UsageError` instead of exiting, and numbers with bounds."""

import argparse
from collections.abc import Callable
from typing import Final, NoReturn

from sweeper.errors import UsageError

COUNTS: Final = (1, 1000)
"""Bounds of the number of seeds, configs and workers."""


class Parser(argparse.ArgumentParser):
    """Argument parser of one command."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` in one line, where argparse would print its usage and exit."""
        raise UsageError(f"{message}: see python -m {self.prog} --help")


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
