"""The command `bench`: measures how fast this machine trains, compared with the reference notebook's loop."""

from collections.abc import Sequence

from sweeper.cli.arguments import Parser
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
    parser.add_argument("overrides", nargs="*", help="choose the data: data.root=... data=mnist5k ...")
    options = parser.parse_intermixed_args(arguments)
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
