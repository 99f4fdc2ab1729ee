"""Wraps a sampler so that every proposal is a whole new point of the space, within the budget where it is repaired."""

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.conditions import is_active, width_before
from sweeper.search.proposals import ProposalRepair
from sweeper.search.space import Params, Space
from sweeper.study.optuna_private import queued_params
from sweeper.study.samplers.moves import moved, nearest

DRAWS: Final = 8
"""Proposals that the wrapped sampler makes for one trial, before the last one is moved instead."""
MOVES: Final = 200
"""Moves from a proposal that was trained before; a space in which all of them were is taken for exhausted."""


class FeasibleSampler(BaseSampler):
    """Proposes what another sampler does, repaired into the budget, and no point twice.

    The whole point is sampled at once and stored as repaired, so the wrapped sampler learns from what was trained.
    A point that cannot be repaired is proposed as it is, and the caller rejects it.
    """

    def __init__(
        self, wrapped: BaseSampler, space: Space, repair: ProposalRepair | None, anchor: Params | None
    ) -> None:
        """Wrap a sampler. `repair` is None in a search that repairs nothing, and only repeats are avoided.

        `anchor` is a feasible point, see `ProposalRepair.repair`; None if none is known.
        """
        self._wrapped, self._space, self._repair, self._anchor = wrapped, space, repair, anchor
        self._seen: dict[int, tuple[tuple[str, Any], ...]] = {}
        """Points by trial number: those that this process has proposed or read."""

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 - of Optuna's contract
        trial: FrozenTrial,
    ) -> dict[str, BaseDistribution]:
        """Return the whole space, or an empty one for a queued trial, whose values are given."""
        return {} if queued_params(trial) else dict(self._space.distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the proposal for the trial, with a value for every key that exists."""
        if not search_space:
            return {}
        self._read(study.get_trials(deepcopy=False), trial.number)
        known = {point for number, point in self._seen.items() if number != trial.number}
        params: Params = {}
        for _ in range(DRAWS):
            params = self._proposal(study, trial)
            repaired = self._repaired(params)
            if repaired is not None and _key(repaired) not in known:
                return self._propose(trial, repaired)
        if repaired is None:  # no point may be feasible at all, and the caller gives up after many
            return self._propose(trial, params)
        generator = random.Random(trial.number)  # noqa: S311 - no secret; the same for a resumed study
        for _ in range(MOVES):
            moved_on = moved(params, self._space.distributions, generator)
            repaired = self._repaired(self._whole(study, trial, moved_on))
            if repaired is not None:
                params = repaired
                if _key(repaired) not in known:
                    break
        return self._propose(trial, params)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value for a key that a queued trial lacks."""
        return self._wrapped.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Tell the wrapped sampler."""
        self._wrapped.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the wrapped sampler."""
        self._wrapped.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Reseed the wrapped sampler."""
        self._wrapped.reseed_rng()

    def _repaired(self, params: Params) -> Params | None:
        return params if self._repair is None else self._repair.repair(params, self._anchor)

    def _proposal(self, study: optuna.Study, trial: FrozenTrial) -> Params:
        relative = self._wrapped.infer_relative_search_space(study, trial)
        return self._whole(study, trial, self._wrapped.sample_relative(study, trial, relative))

    def _whole(self, study: optuna.Study, trial: FrozenTrial, given: Params) -> Params:
        """Return the given values that exist, and a value for every other key that does.

        A convolution that is added to a group whose others are given is as wide as the one before it.
        """
        params: Params = {}
        for key, distribution in self._space.distributions.items():
            if not is_active(key, params):
                continue
            before = width_before(key)
            if key in given:
                params[key] = given[key]
            elif distribution.single():
                params[key] = _only_value(distribution)
            elif before in given or (before in params and given):
                params[key] = nearest(distribution, params[before])
            else:
                known = _with_params(trial, params, self._space.distributions)
                params[key] = self._wrapped.sample_independent(study, known, key, distribution)
        return params

    def _propose(self, trial: FrozenTrial, params: Params) -> Params:
        self._seen[trial.number] = _key(params)
        return params

    def _read(self, trials: list[FrozenTrial], own: int) -> None:
        for trial in trials:
            if trial.number not in self._seen and trial.number != own:
                params = {**queued_params(trial), **trial.params}
                if params:
                    self._seen[trial.number] = _key(params)


def _with_params(trial: FrozenTrial, params: Params, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Return the trial as if these values had been sampled one by one, which brute force goes by."""
    partial = copy.copy(trial)
    partial.params = dict(params)
    partial.distributions = {key: distributions[key] for key in params}
    return partial


def _key(params: Params) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def _only_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low
