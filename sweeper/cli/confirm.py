"""The command `confirm`: retrains the best configs with fresh seeds and measures them once on the test set."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Parser, count
from sweeper.errors import UsageError
from sweeper.shell import sweeper_command
from sweeper.terminal.console import display_path, make_console, print_command, print_prose

if TYPE_CHECKING:
    from sweeper.confirm.record import Confirmation


def confirm(arguments: Sequence[str]) -> int:
    """Confirm a study's best trials, or runs; return 0, or 1 if a run failed.

    Raises the errors of `sweeper.confirm.candidates` and `sweeper.confirm.confirmation.confirm`.
    """
    parser = Parser(
        prog="sweeper confirm",
        description="Train the best configs of a study, or the configs of runs, on all training images with seeds that "
        "the search never used, then open the test set once for each network. Run it again to resume it, or with more "
        "seeds or a larger --top: what is done is reused.",
    )
    parser.add_argument("names", nargs="+", metavar="STUDY|RUN", help="a study's name or folder, or runs' folders")
    parser.add_argument("--top", type=count(), metavar="K", help="number of a study's best trials, default 3")
    parser.add_argument("--seeds", type=count(), default=5, metavar="N", help="number of seeds for each, default 5")
    parser.add_argument(
        "--pareto", action="store_true", help="instead of --top: all trials that no other beats in accuracy and size"
    )
    parser.add_argument("--workers", type=count(), metavar="N", help="runs at a time, default: one per core")
    parser.add_argument("--storage", metavar="URL", help="storage of the study, if its folder does not record it")
    options = parser.parse_intermixed_args(arguments)
    if options.top and options.pareto:
        raise UsageError(f"--top and --pareto exclude each other: see {sweeper_command('confirm', '--help')}")
    from sweeper.confirm import candidates, confirmation  # noqa: PLC0415 - optuna
    from sweeper.reading.named_runs import is_run  # noqa: PLC0415 - likewise

    runs = [Path(name) for name in options.names if options.storage is None and is_run(Path(name))]
    if runs and len(runs) == len(options.names):
        if options.top or options.pareto:
            raise UsageError(
                f"--top and --pareto need a study, but runs are given: see {sweeper_command('confirm', '--help')}"
            )
        selection = candidates.select_runs(runs)
    elif len(options.names) > 1:
        other = next(name for name in options.names if Path(name) not in runs)
        raise UsageError(f"several names must all be runs' folders, but {other} is not: confirm one study at a time")
    else:
        selection = candidates.select_trials(
            options.names[0], storage=options.storage, top=options.top or 3, pareto=options.pareto
        )
    command = sweeper_command("confirm", *arguments)
    record, failures = confirmation.confirm(selection, seeds=options.seeds, workers=options.workers, command=command)
    _show(record, subject=_subject(options))
    console = make_console()
    from sweeper.study.folder import CONFIRM  # noqa: PLC0415 - as above

    console.print(f"record: {display_path(selection.folder / CONFIRM)}", soft_wrap=True)
    if selection.study is not None:
        from sweeper.report.build import build_page  # noqa: PLC0415 - plotly

        page = build_page([options.names[0]], storage=options.storage, out=None)
        console.print(f"report: {page.path}", soft_wrap=True)
    for failure in failures:
        console.print(f"failed: {failure.run.label}: {failure.reason}", soft_wrap=True)
    if failures:
        print_command(console, "try again", command)
    return 1 if failures else 0


def _subject(options: argparse.Namespace) -> list[str]:
    return [*options.names, *(["--storage", options.storage] if options.storage else [])]


def _show(record: "Confirmation", *, subject: list[str]) -> None:
    """Print the headline, the table of configs and the commands that follow."""
    from sweeper.confirm.headline import COLUMNS, DROPPED, headline, row  # noqa: PLC0415 - after the training
    from sweeper.terminal.result_table import result_table  # noqa: PLC0415 - likewise

    said, console = headline(record, subject=subject), make_console()
    console.print()
    print_prose(console, said.lead, "bold green" if said.tone == "met" else "bold yellow")
    print_prose(console, said.details)
    rows = [row(configuration) for configuration in record.configurations]
    console.print(result_table(COLUMNS, rows, width=console.width, dropped=DROPPED, gap=2))
    for command in said.commands:
        print_command(console, command.label, command.text)
