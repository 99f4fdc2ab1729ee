"""Further points to begin from: the composed network, mended where its diagnosis objects to it."""

from typing import Final

from optuna.distributions import FloatDistribution, IntDistribution

from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze
from sweeper.network.budget import within_budget
from sweeper.network.plan import Conv
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.space import Params, Space, Value, contains, width_key

WIDENED_BY: Final = {"erased_signal", "bottleneck"}
"""Rules of `sweeper.network.diagnosis` whose layers ask for more channels."""
SHARES: Final = 100
"""The other widths are narrowed by hundredths until the budget holds."""
LR: Final = "optimizer.lr"


def advised(
    base: ExperimentConf, start: Params, space: Space, feasibility_check: FeasibilityCheck
) -> tuple[Params, ...]:
    """Return the start, mended, and that at half its learning rate, where the rate is searched; empty where nothing is mended.

    Two tries: the notebook's network, mended, is at 99.1 % in the mean of seeds, and misses 99 % every fourth time.
    """
    better = mended(base, start, space, feasibility_check)
    if better is None:
        return ()
    rate = better.get(LR)
    if not isinstance(rate, float) or not contains(space.distributions[LR], rate / 2):
        return (better,)
    return (better, {**better, LR: rate / 2})


def mended(base: ExperimentConf, start: Params, space: Space, feasibility_check: FeasibilityCheck) -> Params | None:
    """Return the start, mended: layers that a finding names as wide as the space lets them be, least dropout.

    Dropout is taken back only where it erases the signal. The other widths are narrowed alike until the budget holds,
    and where that is not enough, all of them. None where the start needs no mending, or the budget leaves no room.
    """
    design = analyze(base)
    findings = [finding for finding in design.findings if finding.rule in WIDENED_BY]
    blamed = {name for finding in findings for name in finding.layers}
    erased = any(finding.rule == "erased_signal" for finding in findings)
    point, widened, others = dict(start), [], []
    for layer in design.plan.layers:
        key = width_key(layer) if isinstance(layer, Conv) else ""
        distribution = space.distributions.get(key)
        if isinstance(distribution, IntDistribution) and layer.name in blamed:
            point[key] = distribution.high
            widened.append(key)
        elif isinstance(distribution, IntDistribution):
            others.append(key)
    for key, distribution in space.distributions.items():
        if erased and key.rpartition(".")[2] == "dropout" and isinstance(distribution, FloatDistribution):
            point[key] = distribution.low
    for keys in (others, others + widened):
        for share in range(SHARES, 0, -1):
            candidate = {**point, **{key: _narrowed(space, key, point[key], share) for key in keys}}
            conf = feasibility_check.configure(candidate)
            if within_budget(analyze(conf).summary, conf.budget):
                return candidate if candidate != start else None
    return None


def _narrowed(space: Space, key: str, width: Value, share: int) -> int:
    """Return that many hundredths of a width, rounded down, and no fewer than the space has."""
    distribution = space.distributions[key]
    assert isinstance(distribution, IntDistribution)
    assert isinstance(width, int)
    return max(distribution.low, width * share // SHARES)
