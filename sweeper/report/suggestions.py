"""What a report suggests changing about a network, as overrides: wider within its budget, or without its bottlenecks."""

from sweeper.config.model import ModelConf
from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze, image_facts
from sweeper.network.repair import Bounds, repair, widen, width_bounds


def wider(conf: ExperimentConf) -> list[str]:
    """Return the overrides that widen every group up to twofold, as far as the budget allows; none where it does not."""
    return _overrides(conf.model, widen(conf.model, conf.budget, image_facts(conf)))


def repaired(conf: ExperimentConf) -> list[str]:
    """Return the overrides of the network that a search of all widths tries second; none where nothing needs repair."""
    bounds = Bounds(widths=width_bounds(analyze(conf).plan), least_dropout={})
    model = repair(conf.model, conf.budget, bounds, image_facts(conf))
    return [] if model is None else _overrides(conf.model, model)


def _overrides(before: ModelConf, after: ModelConf) -> list[str]:
    return [
        f"model.groups.{name}.channels=[{','.join(map(str, group.channels))}]"
        for name, group in after.groups.items()
        if group.channels != before.groups[name].channels
    ]
