"""The command `resume`: a run that was stopped goes on from its checkpoint."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sweeper.cli.arguments import Parser, count
from sweeper.cli.shown_run import show_run
from sweeper.startup import loading
from sweeper.terminal.console import display_path

EPOCHS: Final = "training.epochs"
"""The one key of a run's config that may change."""


def resume(arguments: Sequence[str]) -> int:
    """Go on with a run. Return 0. Raises the errors of `sweeper.run.resuming.resume`."""
    parser = Parser(
        prog="sweeper resume",
        description="Go on with a run that was stopped, from its checkpoint, to the same bits as if it never had been.",
    )
    parser.add_argument("folder", type=Path, help="folder of the run, below outputs/runs")
    parser.add_argument(
        "epochs",
        nargs="?",
        type=_epochs,
        metavar=f"{EPOCHS}=N",
        help="epochs in all, if more than planned: for the schedules constant and step",
    )
    options = parser.parse_args(arguments)
    with loading():
        from sweeper.run import resuming  # noqa: PLC0415 - torch takes two seconds

    show_run(
        lambda progress: resuming.resume(options.folder, epochs=options.epochs, listeners=[progress]),
        display_path(options.folder),
    )
    return 0


def _epochs(override: str) -> int:
    """Read ``training.epochs=N``, for argparse's `type`."""
    key, _, value = override.partition("=")
    if key != EPOCHS:
        raise ArgumentTypeError(f"a resumed run keeps its config but for {EPOCHS}, but got {override!r}")
    return count(1, 10**6)(value)
