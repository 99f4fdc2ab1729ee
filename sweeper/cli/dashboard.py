"""The verb `dashboard`: optuna-dashboard over the studies here, read-only."""

import argparse
from collections.abc import Sequence
from typing import Final

from sweeper.cli.arguments import Parser

MAX_PORT: Final = 65535


def dashboard(arguments: Sequence[str]) -> int:
    """Serve optuna-dashboard until Ctrl-C, which is how it ends well."""
    parser = Parser(
        prog="sweeper dashboard", description="Look at studies in a browser on this machine. Changes nothing in them."
    )
    parser.add_argument("study", nargs="?", metavar="STUDY", help="a study's name or folder; all of outputs/studies")
    parser.add_argument(
        "--storage", metavar="URL", help="where the studies are kept; '${oc.env:STUDY_URL}' is looked up"
    )
    parser.add_argument("--port", type=_port, default=8080, metavar="N", help="8080; 0 is any that is free")
    typed = parser.parse_args(arguments)
    from sweeper.dashboard.serve import dashboard as serve  # noqa: PLC0415 - torch, optuna

    serve(typed.study, storage=typed.storage, port=typed.port)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be 0 to {MAX_PORT}, but got {text!r}")
    return int(text)
