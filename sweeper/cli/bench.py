"""The command `bench`: measures how fast this machine trains, compared with the notebook's own loop."""

from collections.abc import Sequence

from sweeper.cli.arguments import Parser
from sweeper.terminal.console import make_console


def bench(arguments: Sequence[str]) -> int:
    """Measure this machine."""
    parser = Parser(
        prog="sweeper bench",
        description="Measure this machine: training speed compared with the notebook's loop, the time of a run to its "
        "target, and what a search adds to each trial.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    parser.add_argument("--quick", action="store_true", help="fewer turns and no run to the target: about 90 seconds")
    parser.add_argument(
        "--ablation", action="store_true", help="measure instead what each hand-made CPU path gains: about ten minutes"
    )
    parser.add_argument("overrides", nargs="*", help="choose the data: data.root=... data=mnist5k ...")
    typed = parser.parse_intermixed_args(arguments)
    from sweeper.bench.ablation import measure_ablation  # noqa: PLC0415 - imports torch
    from sweeper.bench.measure import measure  # noqa: PLC0415 - likewise

    console = make_console()
    take = measure_ablation if typed.ablation else measure
    measured = take(typed.overrides, quick=typed.quick, console=None if typed.json else console)
    if typed.json:
        print(measured.as_json())
    else:
        console.print(measured.tables())
    return 0
