"""The output of `inspect`: a table of the network's layers, the budget bars and the findings. Imports no torch."""

import json
from dataclasses import asdict
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sweeper.config.schema import ExperimentConf
from sweeper.design import Design
from sweeper.network.budget import within_budget
from sweeper.network.plan import Conv, Head, Layer, Pool
from sweeper.terminal.console import budget_lines, finding_lines

LAYER_COLUMNS: Final = ("layer", "operation", "output", "params", "MACs", "RF", "jump")
"""RF is the receptive field, in pixels; jump is the distance between neighboring outputs, in input pixels."""


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
    console.print(layer_table(design))
    console.print(budget_lines(design, conf.budget))
    console.print(finding_lines(design))


def layer_table(design: Design) -> Table:
    """Return a table with one row per layer and a separator between groups."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    name, operation, *numbers = LAYER_COLUMNS
    table.add_column(name, no_wrap=True)
    table.add_column(operation)  # the only column that may wrap in a narrow terminal
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    group = None
    for row in layer_rows(design):
        if group is not None and row[0].partition(".")[0] != group:
            table.add_section()
        group = row[0].partition(".")[0]
        table.add_row(*row)
    return table


def layer_rows(design: Design) -> list[tuple[str, ...]]:
    """Return one row per layer, with a cell for each of `LAYER_COLUMNS`."""
    return [
        (
            facts.name,
            _operation(layer),
            "×".join(str(side) for side in facts.output_shape),
            f"{facts.parameters:,}" if facts.parameters else "",
            f"{facts.macs:,}" if facts.macs else "",
            f"{facts.receptive_field}×{facts.receptive_field}",
            str(facts.jump),
        )
        for layer, facts in zip(design.plan.layers, design.summary.layers, strict=True)
    ]


def _operation(layer: Layer) -> str:
    match layer:
        case Conv():
            parts = [f"{layer.kernel_size}×{layer.kernel_size}"]
            norm = ["norm"] if layer.norm == "batch" else []
            parts += [*norm, layer.activation] if layer.order == "conv_norm_act" else [layer.activation, *norm]
            if layer.dropout:
                parts.append(f"drop {layer.dropout:g}")
            return "conv " + ", ".join(parts)
        case Pool():
            return f"max pool {layer.size}×{layer.size}"
        case Head():
            return "conv 1×1" if layer.kind == "conv" else "average → linear"
