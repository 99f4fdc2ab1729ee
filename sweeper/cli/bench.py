"""The verb `bench`: how fast this machine trains, beside the notebook's own loop."""

from collections.abc import Sequence

from sweeper.cli.arguments import Parser
from sweeper.terminal.console import make_console


def bench(arguments: Sequence[str]) -> int:
    """Measure this machine."""
    parser = Parser(
        prog="sweeper bench",
        description="Measure this machine: training beside the notebook's own loop, a run to its target, a sweep.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    parser.add_argument("--quick", action="store_true", help="fewer turns, no run to the target: about a minute")
    parser.add_argument("overrides", nargs="*", help="of the runs: data.root=... data=mnist5k ...")
    typed = parser.parse_intermixed_args(arguments)
    from sweeper.bench import report  # noqa: PLC0415 - torch

    console = make_console()
    measured = report.measure(typed.overrides, quick=typed.quick, console=console if not typed.json else None)
    if typed.json:
        print(measured.as_json())
    else:
        console.print(measured.tables())
    return 0
