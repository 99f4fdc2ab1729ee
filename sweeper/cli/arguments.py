"""How commands parse their arguments: with argparse, whose errors become `UsageError`, one line."""

import argparse
from typing import NoReturn

from sweeper.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Argument parser of one command."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`; argparse itself prints its usage and exits."""
        raise UsageError(f"{message}: see python -m {self.prog} --help")
