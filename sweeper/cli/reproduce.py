"""The command `reproduce`: runs a saved config again and compares the results bit by bit."""

from collections.abc import Sequence
from pathlib import Path

from sweeper.cli.arguments import Parser


def reproduce(arguments: Sequence[str]) -> int:
    """Run a saved config again and compare. Return 0 if the results are identical, 1 if they differ.

    Raises the errors of `sweeper.run.reproduction.reproduce` and of `sweeper.reading.study_files.restore_from`.
    """
    parser = Parser(
        prog="sweeper reproduce",
        description="Run the saved config of a run or trial again, in a new folder, and compare the results.",
    )
    parser.add_argument("folder", type=Path, help="folder of the run or trial, below outputs/runs or outputs/studies")
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="storage of the trial's study, if another host ran it; its config comes from there",
    )
    options = parser.parse_args(arguments)
    if options.storage is not None:
        from sweeper.reading.study_files import restore_from  # noqa: PLC0415 - optuna

        restore_from(options.storage, options.folder.parent)
    from sweeper.report import run_report  # noqa: PLC0415 - matplotlib
    from sweeper.run import reproduction  # noqa: PLC0415 - torch
    from sweeper.terminal.run_progress import RunProgress  # noqa: PLC0415

    with RunProgress() as progress:
        comparison = reproduction.reproduce(options.folder, [progress])
    _, warning = run_report.try_to_write_report(comparison.repetition)
    progress.show_comparison(comparison)
    if warning:
        progress.console.print(f"! {warning}", soft_wrap=True)
    return 1 if comparison.differences else 0
