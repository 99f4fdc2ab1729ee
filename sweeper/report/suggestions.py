"""Suggested changes of a config, as overrides: a network wider within its budget, or without its bottlenecks; seeds."""

from typing import Final

from sweeper.config.model import ModelConf
from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze, image_facts
from sweeper.network.repair import Bounds, repair, widen, width_bounds

SEEDS: Final = "seed=1,2,3,4,5"
"""Runs a config again with several seeds."""


def wider(conf: ExperimentConf) -> list[str]:
    """Return overrides that widen every group up to twofold within the budget; empty if the budget allows no change."""
    return _overrides(conf.model, widen(conf.model, conf.budget, image_facts(conf)))


def repaired(conf: ExperimentConf) -> list[str]:
    """Return overrides for the repaired network, the second trial of a search of widths; empty if none is needed."""
    bounds = Bounds(widths=width_bounds(analyze(conf).plan), least_dropout={})
    model = repair(conf.model, conf.budget, bounds, image_facts(conf))
    return [] if model is None else _overrides(conf.model, model)


def _overrides(before: ModelConf, after: ModelConf) -> list[str]:
    return [
        f"model.groups.{name}.channels=[{','.join(map(str, group.channels))}]"
        for name, group in after.groups.items()
        if group.channels != before.groups[name].channels
    ]
