"""The command `bench`: measures how fast this machine trains, compared with the reference notebook's loop."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sweeper.cli.arguments import Parser, count, counts, minutes
from sweeper.shell import sweeper_command
from sweeper.terminal.console import make_console


def bench(arguments: Sequence[str]) -> int:
    """Measure this machine and print the results; return 0. Raises the errors of `sweeper.bench.measure.measure`."""
    parser = Parser(
        prog="sweeper bench",
        description="Measure this machine: training speed compared with the notebook's loop, the time of a run to its "
        "target, and what a search adds to each trial.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    parser.add_argument(
        "--quick", action="store_true", help="fewer repetitions and no run to the target: about 90 seconds"
    )
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="measure the speedup of each hand-written CPU path instead: about two minutes",
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="compare ways to search instead: methods times seeds times minutes, resumable in the folder",
    )
    parser.add_argument(
        "--study",
        action="store_true",
        help="measure what a big study costs instead, with jobs that sleep, in a journal, in sqlite and on a server",
    )
    parser.add_argument(
        "--trials", type=count(20, 100_000), default=10_000, help="with --study: finished trials of the biggest"
    )
    parser.add_argument(
        "--workers", type=counts, default=[1, 64], help="with --study: comma-separated numbers of workers"
    )
    parser.add_argument("--storage", metavar="URL", help="with --study: a PostgreSQL server to measure too")
    parser.add_argument("--minutes", type=minutes, default=60, help="with --search: minutes of each search on one core")
    parser.add_argument("--seeds", type=count(), default=3, help="with --search: seeds 1 to this")
    parser.add_argument(
        "--methods", help="with --search: a comma-separated part of start,random,card,architecture,upstream,optuna"
    )
    parser.add_argument(
        "--confirm",
        type=count(0),
        default=0,
        help="with --search: train the best found with this many fresh seeds, then open the test set",
    )
    parser.add_argument("--folder", help="with --search and --study: where the results go")
    parser.add_argument("overrides", nargs="*", help="choose the data: data.root=... data=mnist5k ...")
    options = parser.parse_intermixed_args(arguments)
    if options.study:
        return _study(options)
    if options.search:
        return _search(options, sweeper_command("bench", *arguments))
    from sweeper.bench.ablation import measure_ablation  # noqa: PLC0415 - imports torch
    from sweeper.bench.measure import measure  # noqa: PLC0415 - likewise

    console = make_console()
    run_bench = measure_ablation if options.ablation else measure
    measured = run_bench(options.overrides, quick=options.quick, console=None if options.json else console)
    if options.json:
        print(measured.as_json())
    else:
        console.print(measured.tables())
    return 0


def _study(options: argparse.Namespace) -> int:
    from sweeper.bench.study_cost import measure_study_costs  # noqa: PLC0415 - imports Optuna
    from sweeper.bench.study_cost_report import cost_table, write_costs  # noqa: PLC0415 - likewise

    costs = []
    for cost in measure_study_costs(trials=options.trials, workers=options.workers, server=options.storage):
        costs.append(cost)
        if not options.json:
            print(cost_table(costs).splitlines()[-1], flush=True)
    folder = Path(options.folder or "outputs/study_costs").absolute()
    write_costs(costs, folder)
    print((folder / "study_costs.json").read_text() if options.json else cost_table(costs))
    return 0


def _search(options: argparse.Namespace, command: str) -> int:
    from sweeper.bench.search_methods import METHODS  # noqa: PLC0415 - imports Optuna
    from sweeper.bench.searches import compare_searches  # noqa: PLC0415 - likewise

    folder = Path(options.folder or "outputs/searches").absolute()
    comparison = compare_searches(
        options.overrides,
        methods=options.methods.split(",") if options.methods else list(METHODS),
        seeds=options.seeds,
        minutes=options.minutes,
        confirm=options.confirm,
        folder=folder,
        command=command,
    )
    print((folder / "searches.json").read_text() if options.json else comparison.table())
    return 0
