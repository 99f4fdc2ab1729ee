"""The command `dashboard`: serves optuna-dashboard over the studies in outputs/studies, read-only."""

import argparse
from collections.abc import Sequence
from typing import Final

from sweeper.cli.arguments import Parser

MAX_PORT: Final = 65535


def dashboard(arguments: Sequence[str]) -> int:
    """Serve optuna-dashboard until Ctrl-C; return 0. Raises the errors of `sweeper.dashboard.serve.dashboard`."""
    parser = Parser(
        prog="sweeper dashboard", description="Show studies in a browser on this machine. Does not change them."
    )
    parser.add_argument(
        "study", nargs="?", metavar="STUDY", help="a study's name or folder; default: all in outputs/studies"
    )
    parser.add_argument(
        "--storage", metavar="URL", help="storage of the studies; '${oc.env:STUDY_URL}' reads the variable STUDY_URL"
    )
    parser.add_argument(
        "--port", type=_port, default=8080, metavar="N", help="port, default 8080; 0 takes any free port"
    )
    options = parser.parse_args(arguments)
    from sweeper.dashboard.serve import dashboard as serve  # noqa: PLC0415 - optuna

    serve(options.study, storage=options.storage, port=options.port)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be 0 to {MAX_PORT}, but got {text!r}")
    return int(text)
