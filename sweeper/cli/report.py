"""The verb `report`: a study, a run or several runs become one page on disk."""

from collections.abc import Sequence
from pathlib import Path

from sweeper.cli.arguments import Parser
from sweeper.terminal.console import make_console


def report(arguments: Sequence[str]) -> int:
    """Write a page that opens offline."""
    parser = Parser(
        prog="sweeper report", description="Write one HTML page: of a study, of a run, or of several runs side by side."
    )
    parser.add_argument("what", nargs="+", metavar="STUDY|RUN", help="a study's name or folder, or runs' folders")
    parser.add_argument("--storage", metavar="URL", help="where the study is kept, if its folder does not say")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write it; else beside what it is about")
    typed = parser.parse_intermixed_args(arguments)
    from sweeper.report.build import build_page  # noqa: PLC0415 - torch, plotly

    published = build_page(typed.what, storage=typed.storage, out=typed.out)
    make_console().print(f"report: {published.path} · {published.about}", soft_wrap=True)
    return 0
