"""Checks the options of Hydra itself, with its own parser, which has no public name."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Final

from hydra._internal.utils import get_args_parser

from sweeper.errors import UsageError

VERSION: Final = "1.4"
"""The version of Hydra that this parser was checked against."""


def check_options(arguments: Sequence[str]) -> None:
    """Raise `UsageError` for an option that Hydra does not have, or one without its value; Hydra prints its usage."""
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            _, unknown = get_args_parser().parse_known_args(list(arguments))
    except SystemExit as error:
        reason = printed.getvalue().strip().splitlines()[-1:] or [str(error)]
        raise UsageError(f"{reason[0].partition('error: ')[2] or reason[0]}: see python -m sweeper --help") from error
    if unknown:
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}: see python -m sweeper --help")
