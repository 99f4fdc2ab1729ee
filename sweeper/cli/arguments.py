"""The argument parser of all commands: argparse that raises `UsageError` instead of exiting."""

import argparse
from typing import NoReturn

from sweeper.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Argument parser of one command."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` in one line, where argparse would print its usage and exit."""
        raise UsageError(f"{message}: see python -m {self.prog} --help")
