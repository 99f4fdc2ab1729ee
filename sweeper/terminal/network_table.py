"""The output of `inspect`: a table of the network's layers, the budget bars and the findings. Imports no torch."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from sweeper.config.schema import ExperimentConf
from sweeper.design import Design
from sweeper.network.budget import within_budget
from sweeper.terminal.console import budget_lines, finding_lines

LAYER_COLUMNS: Final = ("layer", "operation", "output", "params", "MACs", "RF", "jump")
"""RF is the receptive field, in pixels; jump is the distance between neighboring outputs, in input pixels."""
DROPPED: Final = ("jump", "RF", "MACs")
"""The columns to leave out in a narrow terminal, the first to go first."""
UNLIMITED: Final = 10_000
"""A width, in characters, at which rich measures what a table needs."""


def as_json(conf: ExperimentConf, design: Design) -> str:
    """Return the layers, total costs, budget and findings as one JSON object."""
    layers = ("name", "kind", "output_shape", "parameters", "macs", "receptive_field", "jump")
    report: dict[str, Any] = {
        "parameters": design.summary.parameters,
        "macs": design.summary.macs,
        "budget": asdict(conf.budget),
        "within_budget": within_budget(design.summary, conf.budget),
        "layers": [{key: getattr(facts, key) for key in layers} for facts in design.summary.layers],
        "findings": [asdict(finding) for finding in design.findings],
    }
    return json.dumps(report, indent=2, ensure_ascii=False)


def show(console: Console, conf: ExperimentConf, design: Design) -> None:
    """Print the table of layers, the budget bars and the findings."""
    console.print(layer_table(console, design))
    console.print(budget_lines(design, conf.budget))
    console.print(finding_lines(design, console.width))


def layer_table(console: Console, design: Design) -> Table:
    """Return a table with one row per layer and a separator between groups.

    If it does not fit, the jump is left out, then long operations take two lines, and then more columns are left out.
    """
    for count in range(len(DROPPED) + 1):
        for in_two in (False, True) if count else (False,):
            table = _layer_table(design, DROPPED[:count], in_two=in_two)
            if Measurement.get(console, console.options.update_width(UNLIMITED), table).maximum <= console.width:
                return table
    return _layer_table(design, DROPPED, wrap=True)


def _layer_table(design: Design, dropped: Sequence[str], *, wrap: bool = False, in_two: bool = False) -> Table:
    caption = f"In a wider terminal also: {', '.join(reversed(dropped))}" if dropped else None
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    shown = [index for index, title in enumerate(LAYER_COLUMNS) if title not in dropped]
    for index in shown:
        title = LAYER_COLUMNS[index]
        is_text = title in {"layer", "operation"}
        table.add_column(title, justify="left" if is_text else "right", no_wrap=not (wrap and title == "operation"))
    group = None
    for row in layer_rows(design):
        if group is not None and row[0].partition(".")[0] != group:
            table.add_section()
        group = row[0].partition(".")[0]
        table.add_row(*(_two_lines(row[index]) if in_two and index == 1 else row[index] for index in shown))
    return table


def _two_lines(operation: str) -> str:
    """Return a list of operations in two lines of similar length, broken after a comma; a single one unchanged."""
    # By hand: rich breaks at every space, unbreakable ones included.
    parts = operation.split(", ")
    halves = [(", ".join(parts[:count]) + ",", ", ".join(parts[count:])) for count in range(1, len(parts))]
    return "\n".join(min(halves, key=lambda lines: max(map(len, lines)))) if halves else operation


def layer_rows(design: Design) -> list[tuple[str, ...]]:
    """Return one row per layer, with a cell for each of `LAYER_COLUMNS`."""
    return [
        (
            facts.name,
            layer.label,
            "×".join(str(side) for side in facts.output_shape),
            f"{facts.parameters:,}" if facts.parameters else "",
            f"{facts.macs:,}" if facts.macs else "",
            f"{facts.receptive_field}×{facts.receptive_field}",
            str(facts.jump),
        )
        for layer, facts in zip(design.plan.layers, design.summary.layers, strict=True)
    ]
