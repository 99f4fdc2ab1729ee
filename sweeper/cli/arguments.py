"""How a verb reads its arguments: argparse, its refusals as one line."""

import argparse
from typing import NoReturn

from sweeper.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A verb's arguments."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` where argparse prints its usage and exits."""
        raise UsageError(f"{message}: see python -m {self.prog} --help")
