"""The command `report`: writes one HTML page about a study, a run or several runs."""

from collections.abc import Sequence
from pathlib import Path

from sweeper.cli.arguments import Parser
from sweeper.terminal.console import make_console, print_prose


def report(arguments: Sequence[str]) -> int:
    """Write a page that opens offline; return 0. Raises the errors of `sweeper.report.build.build_page`."""
    parser = Parser(
        prog="sweeper report",
        description="Write one HTML page about a study, a run, or several studies or runs side by side.",
    )
    parser.add_argument("names", nargs="+", metavar="STUDY|RUN", help="studies' names or folders, or runs' folders")
    parser.add_argument("--storage", metavar="URL", help="storage of the study, if its folder does not record it")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write; default: report.html in the study's or run's folder, or outputs/comparison.html",
    )
    options = parser.parse_intermixed_args(arguments)
    from sweeper.report.build import build_page  # noqa: PLC0415 - plotly, optuna

    page = build_page(options.names, storage=options.storage, out=options.out)
    console = make_console()
    console.print(f"report: {page.path} · {page.about}", soft_wrap=True)
    if page.elsewhere:
        print_prose(console, page.elsewhere)
    return 0
