"""The verb `reproduce`: a saved config trained again and compared to the bit."""

from collections.abc import Sequence
from pathlib import Path

from sweeper.cli.arguments import Parser


def reproduce(arguments: Sequence[str]) -> int:
    """Run a saved config again and compare. Return 0 for identical, 1 for different."""
    parser = Parser(
        prog="sweeper reproduce", description="Run a run's or trial's saved config again, in a new folder, and compare."
    )
    parser.add_argument("folder", type=Path, help="a folder below outputs/runs or outputs/studies")
    typed = parser.parse_args(arguments)
    from sweeper.report import run_report  # noqa: PLC0415 - matplotlib
    from sweeper.run import reproduction  # noqa: PLC0415 - torch
    from sweeper.terminal.run_progress import RunProgress  # noqa: PLC0415

    with RunProgress() as progress:
        comparison = reproduction.reproduce(typed.folder, [progress])
    run_report.write_report(comparison.repetition)
    progress.show_comparison(comparison)
    return 1 if comparison.differences else 0
