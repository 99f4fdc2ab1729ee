"""Repairs proposals into the budget: what a sampler suggests becomes the nearest point that can be trained.

Nothing else is repaired: a grid's points, a search's first points and typed values are trained or rejected as they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from optuna.distributions import CategoricalDistribution, IntDistribution

from sweeper.config.schema import ExperimentConf
from sweeper.design import image_facts
from sweeper.errors import CompositionError, ConfigError
from sweeper.network.budget import within_budget
from sweeper.network.plan import make_plan
from sweeper.network.summary import summarize
from sweeper.search.conditions import WIDTH, is_active
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.space import Params, Space, Value

BISECTIONS: Final = 12
"""Steps of the search for the factor that narrows all widths: more than a width has binary digits."""


@dataclass(frozen=True, kw_only=True)
class _Width:
    """One searched width of a proposal."""

    key: str
    group: str
    index: int
    proposed: int
    values: tuple[int, ...]
    """The values it may take, up to the proposed one, in rising order."""

    def scaled(self, factor: float) -> int:
        """Return the greatest value that is at most the proposed one times the factor, or else the least."""
        return max((value for value in self.values if value <= self.proposed * factor), default=self.values[0])


class ProposalRepair:
    """Repairs the proposals of one search space."""

    def __init__(self, space: Space, check: FeasibilityCheck) -> None:
        """Repair proposals of `space` until `check` finds them feasible."""
        self._space, self._check = space, check

    def repair(self, params: Params, anchor: Params | None = None) -> Params | None:
        """Return the proposal itself if it is feasible, otherwise the nearest feasible point that is found.

        All searched widths are narrowed by one factor, the largest that the budget allows, and as many of them as still
        fit get a value more. If the network cannot be built or its least widths are over budget, values of `anchor`
        replace the proposal's, one after the other and the network's first, until narrowing helps.

        Returns None if nothing does. Raises `CompositionError` if Hydra cannot compose the proposal.
        """
        for candidate in self._toward(params, anchor or {}):
            narrowed = self._narrowed(candidate)
            if narrowed is not None:
                return narrowed
        return None

    def _toward(self, params: Params, anchor: Params) -> Iterator[Params]:
        """Yield the proposal, then it with one more of the anchor's values each time."""
        mixed = dict(params)
        yield mixed
        # The network's values first: it is they that do not fit.
        for key in sorted(self._space.keys, key=lambda key: not key.startswith("model.groups.")):
            if key in anchor and mixed.get(key) != anchor[key]:
                mixed = {**mixed, key: anchor[key]}
                # A deeper group needs widths for its convolutions.
                missing = {name: anchor[name] for name in anchor if name not in mixed and is_active(name, mixed)}
                mixed = {name: value for name, value in {**mixed, **missing}.items() if is_active(name, mixed)}
                yield {name: mixed[name] for name in self._space.keys if name in mixed}

    def _narrowed(self, params: Params) -> Params | None:
        try:
            conf = self._check.configure(params)
        except CompositionError:
            raise
        except ConfigError:
            return None
        widths = list(self._widths(params))
        now = {width.key: width.proposed for width in widths}
        if _fits(conf, widths, now):
            return params
        if not widths or not _fits(conf, widths, {width.key: width.values[0] for width in widths}):
            return None
        low, high = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            fits = _fits(conf, widths, {width.key: width.scaled(middle) for width in widths})
            low, high = (middle, high) if fits else (low, middle)
        now = {width.key: width.scaled(low) for width in widths}
        for width in sorted(widths, key=lambda width: now[width.key] / width.proposed):
            more = min((value for value in width.values if value > now[width.key]), default=None)
            if more is not None and _fits(conf, widths, {**now, width.key: more}):
                now[width.key] = more
        return {**params, **now}

    def _widths(self, params: Mapping[str, Value]) -> Iterator[_Width]:
        for key, proposed in params.items():
            match = WIDTH.fullmatch(key)
            if match is None or isinstance(proposed, bool) or not isinstance(proposed, int):
                continue
            distribution = self._space.distributions[key]
            if isinstance(distribution, IntDistribution):
                values = tuple(range(distribution.low, proposed + 1, distribution.step))
            else:
                assert isinstance(distribution, CategoricalDistribution)
                choices = [choice for choice in distribution.choices if isinstance(choice, int) and choice <= proposed]
                values = tuple(sorted(choices))
            group, index = match[1].rpartition(".")[2], int(match[2])
            yield _Width(key=key, group=group, index=index, proposed=proposed, values=values)


def _fits(conf: ExperimentConf, widths: list[_Width], values: Mapping[str, int]) -> bool:
    """Whether the network with these widths, which are set in place, can be built within its budget."""
    for width in widths:
        conf.model.groups[width.group].channels[width.index] = values[width.key]
    facts = image_facts(conf)
    try:
        summary = summarize(make_plan(conf.model, input_shape=facts.shape, classes=facts.classes))
    except ConfigError:
        return False
    return within_budget(summary, conf.budget)
