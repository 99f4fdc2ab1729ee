"""What to change about a network: overrides that widen it, or mend its bottlenecks, within its budget."""

from dataclasses import asdict, replace
from typing import Final

from sweeper.config.schema import ExperimentConf, ModelConf
from sweeper.design import analyze
from sweeper.network.budget import scaled, within_budget
from sweeper.search import initial_points as advice
from sweeper.search.feasibility import FeasibilityCheck, value_at
from sweeper.search.space import Space, width_distributions

WIDEST: Final = 2.0
"""Times as many channels are the most that is advised at once."""
BISECTIONS: Final = 20
"""To find the widest that the budget bears: more than any width has digits."""


def widest(conf: ExperimentConf) -> list[str]:
    """Return the overrides that make every group twice as wide, or as wide as the budget bears; none where it does not."""
    low, high = 1.0, WIDEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        wider = replace(conf, model=scaled(conf.model, middle))
        low, high = (middle, high) if within_budget(analyze(wider).summary, conf.budget) else (low, middle)
    return _channels(conf.model, scaled(conf.model, low))


def mended(conf: ExperimentConf) -> list[str]:
    """Return the overrides of the network that a search would try second: bottlenecks wide, the rest narrowed."""
    plan = analyze(conf).plan
    space = Space(distributions=width_distributions(plan), template=(), grid=None)
    space = replace(space, template=tuple(space.keys))
    check = FeasibilityCheck(space, lambda _: conf)
    start = {key: value_at(conf, key) for key in space.keys}
    point = advice.mended(conf, start, space, check)
    return [] if point is None else _channels(conf.model, check.configure(point).model)


def _channels(before: ModelConf, after: ModelConf) -> list[str]:
    old, new = asdict(before)["groups"], asdict(after)["groups"]
    return [
        f"model.groups.{name}.channels=[{','.join(map(str, group['channels']))}]"
        for name, group in new.items()
        if group["channels"] != old[name]["channels"]
    ]
