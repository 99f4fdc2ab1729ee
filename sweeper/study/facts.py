"""Derives the facts of a study that its headline states: target, progress, start, noise, smallest proposal, time spent."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from statistics import mean
from typing import Any, Final

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.loading import dotted
from sweeper.data.catalogue import DATASETS, DatasetFacts
from sweeper.network.budget import COSTS
from sweeper.search.every_point import are_all_tried
from sweeper.search.space import read_space
from sweeper.study.attributes import DUPLICATE, PARAMETERS, REJECTED, whole
from sweeper.study.goal import Goal, as_goal
from sweeper.study.liveness import GRACE_SECONDS, lost_trials
from sweeper.study.optuna_private import queued_params
from sweeper.study.summary import REJECTIONS_IN_A_ROW, state_of, summarize_trials, tried_points

MAX_INITIAL_POINTS: Final = 3
"""A search by a sampler queues at most this many points."""
MAX_FAILURE_RATE: Final = 0.5
"""The default of `hydra.sweeper.max_failure_rate`, for a study that does not say."""


class StudyFacts:
    """The facts of one study at one moment, from its trials and from its search.yaml and multirun.yaml."""

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        goal: Goal | StudyDirection,
        *,
        search: Any,
        sweep: Any,
        lost: Collection[int] | None = None,
    ) -> None:
        """Read the contents of the two files, which are untrusted; None if they are missing.

        `lost` are the running trials without a live process; with None, those that show this without beats.
        """
        self.trials, self.goal = list(trials), as_goal(goal)
        self.direction = self.goal.direction
        saved = search if isinstance(search, Mapping) else {}
        space, fixed = saved.get("space"), saved.get("fixed")
        self.base: dict[str, Any] = dict(dotted(saved["base"])) if isinstance(saved.get("base"), Mapping) else {}
        """The composed config by dotted key; empty for another Hydra application."""
        self.searched = {key.lstrip("+") for key in space} if isinstance(space, Mapping) else set()
        """The searched keys."""
        self.fixed = [line for line in fixed if isinstance(line, str)] if isinstance(fixed, list) else []
        """The overrides that all trials share."""
        self.summary = summarize_trials(self.trials, self.goal)
        options = _options(sweep)
        rate = options.get("max_failure_rate")
        self._max_failure_rate = rate if isinstance(rate, float | int) else MAX_FAILURE_RATE
        self._stops_at_target = options.get("stop_at_target") is not False
        self.is_grid = _is_grid(saved, self.trials)
        """Whether the space is a list of points, each of which is run."""
        self.is_exhausted = tries_every_point(options) and are_all_tried(read_space(saved), tried_points(self.trials))
        """Whether a sampler that tries every point has tried all."""
        self.total = self._points() if self.is_grid else whole(options.get("n_trials"))
        """Number of trials asked for, at most those that the space has; None if unknown."""
        if self.is_exhausted and not (self.summary.running or self.summary.waiting):
            self.total = self.summary.counted
        lost = lost_trials(self.trials, {}, grace_seconds=GRACE_SECONDS) if lost is None else lost
        self.is_running = any(t.state is TrialState.RUNNING and t.number not in lost for t in self.trials)
        """Whether a live process runs one of the trials."""

    @property
    def is_accuracy(self) -> bool:
        """Whether the objective value is an accuracy; another Hydra application may return any number."""
        return bool(self.base) or any(PARAMETERS in trial.user_attrs for trial in self.trials)

    @property
    def target(self) -> float | None:
        """The accuracy to reach; None if the study has none."""
        target = self.base.get("target")
        is_target = isinstance(target, int | float) and self.direction is StudyDirection.MAXIMIZE
        return float(target) if is_target and target is not None else None

    @property
    def is_at_target(self) -> bool:
        """Whether a search has ended with a trial that reached its target: a resumed one would end at the next."""
        best = self.summary.best
        is_search = not self.is_grid and self.goal.cost is None  # a front has no end
        stops = self._stops_at_target and is_search and self.target is not None
        return stops and best is not None and best.values[0] >= (self.target or 0)

    @property
    def metric(self) -> str:
        """What the objective value is."""
        if not self.is_accuracy:
            return "value"
        return "test accuracy" if self.base.get("data.validation") == "test" else "validation accuracy"

    @cached_property
    def completed(self) -> list[FrozenTrial]:
        """The completed trials, without those that repeat another one."""
        return [t for t in self.trials if t.state is TrialState.COMPLETE and DUPLICATE not in t.user_attrs]

    @property
    def has_front(self) -> bool:
        """Whether the study has two objectives, and a completed trial."""
        return self.goal.cost is not None and self.summary.best is not None

    @property
    def is_over_seeds(self) -> bool:
        """Whether only the seed varies: the mean counts, and the best seed says nothing."""
        return self.searched == {"seed"} and len(self.completed) > 1

    @property
    def mean(self) -> float:
        """Mean value of the completed trials, without a rounding error: six times 0.99 is 0.99."""
        return float(mean(trial.values[0] for trial in self.completed))

    @property
    def is_done(self) -> bool:
        """Whether all trials that were asked for are done."""
        if self.is_grid:
            return not (self.summary.running or self.summary.waiting)
        return self.total is None or self.summary.counted >= self.total

    @property
    def too_many_failed(self) -> bool:
        """Whether failures ended the study: more than the allowed share, for a grid of all its points."""
        points = (self.total or self.summary.counted) + (self.summary.rejected if self.is_grid else 0)
        return self.summary.failed > self._max_failure_rate * points

    @property
    def too_many_rejected(self) -> bool:
        """Whether rejections ended the study."""
        last = self.trials[-REJECTIONS_IN_A_ROW:]
        return len(last) == REJECTIONS_IN_A_ROW and all(state_of(trial) == "rejected" for trial in last)

    @property
    def nothing_feasible(self) -> bool:
        """Whether all proposals were rejected. One that was interrupted, and queued again, was feasible."""
        return bool(self.trials) and all(state_of(trial) == "rejected" for trial in self.trials)

    @property
    def data(self) -> DatasetFacts | None:
        """The dataset; None if it is unknown, or searched."""
        return None if self.searched & {"data", "data.name"} else DATASETS.get(str(self.base.get("data.name")))

    @property
    def images(self) -> int | None:
        """The number of images on which the accuracy is measured; None if it is unknown, or searched."""
        if self.data is None or self.searched & {"data.validation", "data.validation_size"}:
            return None
        is_test = self.base.get("data.validation") == "test"
        return self.data.test_images if is_test else whole(self.base.get("data.validation_size"))

    @property
    def is_start_first(self) -> bool:
        """Whether `start` has the values of the first proposal; if that was rejected or failed, it has not."""
        return self.start is not None and self.start.params == self._first_params()

    @cached_property
    def start(self) -> FrozenTrial | None:
        """The completed trial with which the search began, or else the first that was completed."""
        first = self._first_params() if self.trials else None
        return next((trial for trial in self.completed if trial.params == first), next(iter(self.completed), None))

    @cached_property
    def smallest(self) -> dict[str, int]:
        """The costs over their limits of the proposal that exceeds them least; empty if no proposal can be built."""
        found: list[tuple[float, int, dict[str, int]]] = []
        for trial in self.trials:
            over: dict[str, int] = {}
            excess = 0.0
            for cost, _ in COSTS:
                count, limit = whole(trial.user_attrs.get(cost)), whole(self.base.get(f"budget.{cost}"))
                if count is not None and limit is not None and count > limit:
                    over[cost], excess = count, max(excess, count / limit)
            if over and REJECTED in trial.user_attrs:
                found.append((excess, trial.number, over))
        return min(found, key=lambda one: one[:2])[2] if found else {}

    @property
    def seconds(self) -> float:
        """The time in which at least one trial ran: a pause between interruption and resumption is left out."""
        spans = sorted(
            (trial.datetime_start, trial.datetime_complete)
            for trial in self.trials
            if trial.datetime_start is not None and trial.datetime_complete is not None
        )
        total, end = 0.0, None
        for start, complete in spans:
            begin = start if end is None else max(start, end)
            if complete > begin:
                total, end = total + (complete - begin).total_seconds(), complete
        return total

    def _first_params(self) -> Mapping[str, Any]:
        return self.trials[0].params or queued_params(self.trials[0])

    def _points(self) -> int:
        """Return the number of a grid's feasible points: all are queued at the start, retries are queued again."""
        return sum(state_of(trial) not in {"retried", "rejected"} for trial in self.trials)


def _options(sweep: Any) -> Mapping[str, Any]:
    """Return `hydra.sweeper` from the content of multirun.yaml."""
    settings = sweep.get("hydra") if isinstance(sweep, Mapping) else None
    options = settings.get("sweeper") if isinstance(settings, Mapping) else None
    return options if isinstance(options, Mapping) else {}


def tries_every_point(options: Mapping[str, Any]) -> bool:
    """Whether the options `hydra.sweeper` choose a sampler that proposes every point of the space once."""
    sampler = options.get("sampler")
    return isinstance(sampler, Mapping) and str(sampler.get("_target_")).endswith(".BruteForceSampler")


def _is_grid(search: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> bool:
    """Whether a search is a grid. The first version did not say so: in its grids, every point was queued."""
    if "grid" in search:
        return bool(search["grid"])
    return len(trials) > MAX_INITIAL_POINTS and all(queued_params(trial) for trial in trials)
