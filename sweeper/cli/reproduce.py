"""The command `reproduce`: runs a saved config again and compares the results bit by bit, or runs it with changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Parser, add_config_options, origin_of
from sweeper.cli.shown_run import show_run
from sweeper.errors import UsageError
from sweeper.startup import loading
from sweeper.terminal.console import display_path, make_console

if TYPE_CHECKING:
    from sweeper.run.reproduction import Changed


def reproduce(arguments: Sequence[str]) -> int:
    """Run a saved config again and compare. Return 0 if the results are identical, 1 if they differ.

    With overrides it is another run, which is compared with nothing; return 0.

    Raises the errors of `sweeper.run.reproduction`, and of `sweeper.reading.named_runs.find_run`.
    """
    parser = Parser(
        prog="sweeper reproduce",
        description="Run the saved config of a run or trial again, in a new folder, and compare the results. With "
        "overrides, run the changed config: that is another run, and compared with nothing.",
    )
    parser.add_argument("name", metavar="RUN|STUDY", help="folder or name of a run; of a study, for its best trial")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="KEY=VALUE", help="what changes: model.dropout=0.05 ..."
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="storage of the trial's study, if another host ran it; its config comes from there",
    )
    add_config_options(parser)
    options = parser.parse_intermixed_args(arguments)
    wrong = next((word for word in options.overrides if "=" not in word and not word.startswith("~")), None)
    if wrong is not None:
        raise UsageError(f"one run is reproduced, and an override is key=value, but got {wrong!r} after {options.name}")
    from sweeper.reading.named_runs import find_run  # noqa: PLC0415 - optuna

    folder = find_run(options.name, options.storage)
    with loading():
        from sweeper.run import reproduction  # noqa: PLC0415 - torch takes two seconds
    if options.overrides:
        return _rerun(reproduction.change_run(folder, options.overrides, origin_of(options)))
    from sweeper.report import run_report  # noqa: PLC0415 - matplotlib
    from sweeper.terminal.run_progress import RunProgress  # noqa: PLC0415

    with RunProgress() as progress:
        comparison = reproduction.reproduce(folder, [progress])
    _, warning = run_report.try_to_write_report(comparison.repetition)
    progress.show_comparison(comparison)
    if warning:
        progress.console.print(f"! {warning}", soft_wrap=True)
    return 1 if comparison.differences else 0


def _rerun(changed: "Changed") -> int:
    """Run a changed config; say first that it is no reproduction, and what differs."""
    from sweeper.run.experiment import run  # noqa: PLC0415 - torch
    from sweeper.run.folder import new_run_path  # noqa: PLC0415 - Hydra

    console = make_console()
    console.print(
        f"a changed run, not a reproduction: nothing is compared with {display_path(changed.original)}", soft_wrap=True
    )
    for key, (before, after) in changed.changes.items():
        console.print(f"  {key}: {_shown(before)} there, {_shown(after)} here", soft_wrap=True)
    if not changed.changes:
        console.print("  no value differs", soft_wrap=True)
    folder = new_run_path()
    show_run(lambda progress: run(changed.conf, folder=Path(folder), listeners=[progress]), folder)
    return 0


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
