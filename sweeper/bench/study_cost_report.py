"""The table and the figure of what big studies cost."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sweeper.bench.study_cost import StudyCost
from sweeper.run.folder import write_atomically

HEADS = ("storage", "workers", "trials", "trials/s", "ask, ms", "memory, MB", "disk, MB")


def cost_table(costs: Sequence[StudyCost]) -> str:
    """Return a Markdown table, one row for each storage, number of workers and size."""
    rows = [
        (
            cost.storage,
            str(cost.workers),
            f"{cost.trials:,}",
            f"{cost.trials_per_second:.3g}",
            f"{cost.ask_milliseconds:.3g}",
            f"{cost.memory_megabytes:.0f}",
            f"{cost.disk_megabytes:.1f}",
        )
        for cost in costs
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADS, ("---", *["---:"] * (len(HEADS) - 1)), *rows)]
    return "\n".join(lines) + "\n"


def write_costs(costs: Sequence[StudyCost], folder: Path) -> None:
    """Write `study_costs.json`, `study_costs.md` and `study_costs.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "study_costs.json", json.dumps([asdict(cost) for cost in costs]).encode())
    write_atomically(folder / "study_costs.md", cost_table(costs).encode())
    _plot(costs, folder / "study_costs.png")


def _plot(costs: Sequence[StudyCost], file: Path) -> None:
    """Plot trials per second and the time of a proposal over the size of the study, a line for each storage."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only needed here

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    for axes, name, title in zip(
        figure.subplots(1, 2),
        ("trials_per_second", "ask_milliseconds"),
        ("trials per second, at most", "milliseconds for a proposal"),
        strict=True,
    ):
        for storage, workers in dict.fromkeys((cost.storage, cost.workers) for cost in costs):
            of_one = [cost for cost in costs if (cost.storage, cost.workers) == (storage, workers)]
            label = f"{storage}, {workers} worker{'' if workers == 1 else 's'}"
            axes.plot([cost.trials for cost in of_one], [getattr(cost, name) for cost in of_one], "o-", label=label)
        axes.set(xscale="log", yscale="log", xlabel="finished trials in the study", title=title)
    figure.axes[0].legend(fontsize="small")
    figure.savefig(file, dpi=120)
