"""The command `inspect`: shows the network layer by layer, without data, weights or torch."""

from collections.abc import Sequence

from sweeper.cli.arguments import Parser, add_config_options, origin_of
from sweeper.config.composition import compose
from sweeper.config.idle import idle_overrides, idle_settings
from sweeper.design import analyze
from sweeper.network.budget import check_budget
from sweeper.terminal import network_table
from sweeper.terminal.console import make_console


def inspect(arguments: Sequence[str]) -> int:
    """Show the network; return 0. Raises `ConfigError`, or `BudgetError` after showing a network over budget."""
    parser = Parser(
        prog="sweeper inspect", description="Show the network layer by layer: no data, no weights, no training."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("overrides", nargs="*", help="overrides as for a run: model=gap model.dropout=0.05 ...")
    add_config_options(parser)
    options = parser.parse_intermixed_args(arguments)
    conf = compose(options.overrides, origin_of(options))
    design = analyze(conf)
    if options.json:
        print(network_table.as_json(conf, design))
    else:
        network_table.show(make_console(), conf, design)
        for note in idle_overrides(idle_settings(conf), options.overrides):
            make_console().print(note, soft_wrap=True)
    check_budget(conf.model, design.plan, design.summary, conf.budget)
    return 0
