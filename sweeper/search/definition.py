"""The definition of a search, read from the command line: space, feasibility check, number of trials and target."""

import functools
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sweeper.config.hydra_errors import explain
from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze, check_images
from sweeper.errors import CompositionError, ConfigError, StudyError
from sweeper.search.architecture import architecture_distributions, extended
from sweeper.search.conditions import in_order
from sweeper.search.config_keys import takes_integers
from sweeper.search.constraints import ConstraintCheck, constraints
from sweeper.search.dry_run import describe_grid, describe_search, describe_space
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.front_points import front_points, front_widths
from sweeper.search.idle_sweeps import check_idle
from sweeper.search.initial_points import initial_points
from sweeper.search.job_composer import JobComposer
from sweeper.search.options import StudyOptions
from sweeper.search.proposals import ProposalRepair
from sweeper.search.space import (
    Params,
    Space,
    as_integers,
    as_overrides,
    first_point,
    parse,
    search_record,
    width_distributions,
)
from sweeper.search.within_budget import (
    check_any_fits,
    check_one_network,
    fixed_widths,
    unsearched_widths,
    within_budget,
)

NAME_LENGTH: Final = 40
"""Maximum length, in characters, of the readable part of a study's name."""
IMAGE_KEYS: Final = ("data", "training.batch_size")
"""Start of the keys that decide whether there are enough training images."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search as the command line defines it: a grid, or points that a sampler proposes."""

    space: Space
    check: FeasibilityCheck | ConstraintCheck | None
    """None for another Hydra application without constraints."""
    base: ExperimentConf | None
    """The composed config; for a grid, that of its first valid point. None for another Hydra application."""
    application: dict[str, Any] | None = None
    """Name and composed config of another Hydra application; None for sweeper's own."""
    options: StudyOptions
    notes: tuple[str, ...] = ()
    """Sentences about overrides that change nothing."""

    @property
    def is_grid(self) -> bool:
        """Whether the space is a list of points, each of which is run; otherwise a sampler proposes them."""
        return self.space.grid is not None

    @property
    def total(self) -> int:
        """Number of trials in the whole study, those of earlier processes included."""
        return len(self.space.grid) if self.space.grid is not None else self.options.n_trials

    @property
    def target(self) -> float | None:
        """The validation accuracy, a fraction, that ends the search; None if only `total` ends it."""
        if self.is_grid or self.base is None or not self.options.stop_at_target:
            return None
        if self.options.cost or self.options.direction == "minimize":
            return None  # a search for small or bad networks goes on past the first that reaches the target
        return self.base.target

    def has_too_many(self, failed: int) -> bool:
        """Whether more trials have failed for good than `hydra.sweeper.max_failure_rate` allows."""
        return failed > self.options.max_failure_rate * self.total

    @property
    def starts(self) -> tuple[Params, ...]:
        """The points to queue at the start: every point of a grid, otherwise those of `initial_points`."""
        if self.space.grid is not None:
            return self.space.grid
        if self.base is None:
            return ()
        points = front_points if self.options.cost else initial_points
        start = within_budget(self.base, kept=unsearched_widths(self.base, self.space))
        return points(start, self.space) or points(self.base, self.space)

    @property
    def prefix(self) -> str:
        """The readable part of the study's name: the last parts of the swept keys."""
        keys = (re.sub(r"(\.\d+)+$", "", key.lstrip("+")) for key in self.space.keys)
        names = [key.rpartition(".")[2].partition("@")[0] for key in keys]
        application = [self.application["name"]] if self.application else []
        return re.sub(r"[^\w.+-]+", "-", "-".join(dict.fromkeys([*application, *names])))[:NAME_LENGTH] or "study"

    @functools.cached_property
    def repair(self) -> ProposalRepair | None:
        """What repairs a sampler's proposals into the budget; None for a grid and for another Hydra application."""
        if self.is_grid or not isinstance(self.check, FeasibilityCheck):
            return None
        return ProposalRepair(self.space, self.check)

    @functools.cached_property
    def anchor(self) -> Params | None:
        """A feasible point that a proposal is pulled toward if narrowing does not help; None if none is known."""
        return next((point for point in map(self._trainable, self.starts) if point is not None), None)

    def check_any_fits(self) -> None:
        """Raise `StudyError` if no point of a sampler's space is found that can be trained."""
        if self.repair is not None and self.anchor is None:
            assert isinstance(self.check, FeasibilityCheck)
            check_any_fits(self.space, self.check, self.repair)

    def _trainable(self, point: Params) -> Params | None:
        return None if self.repair is None else self.repair.repair(point)

    def record(self) -> dict[str, Any]:
        """Return the content of `search.yaml`: space, fixed overrides and base config identify it; and is it a grid?"""
        base = asdict(self.base) if self.base else {}
        base.pop("logging", None)  # loggers do not change the search
        if self.base is not None and self.base.training.timeout is None:
            del base["training"]["timeout"]  # so that a search of an earlier version keeps its hash, and its name
        goal = {"cost": self.options.cost, "smallest": self.options.smallest} if self.options.cost else None
        return {**search_record(self.space, base, goal, self.application), "grid": self.is_grid}

    def dry_run(self, *, jobs: int) -> None:
        """Print the jobs of a grid, or an estimate of the search with `jobs` trials at a time. Raises `StudyError`."""
        if self.is_grid:
            describe_grid(self.space, self.check)
        elif self.base is None:
            describe_space(self.space, trials=self.total)
        else:
            assert isinstance(self.check, FeasibilityCheck)
            repair = self.repair if self.options.cost is None else None
            describe_search(self.space, self.check, self.base, trials=self.total, jobs=jobs, repair=repair)


def read_search(arguments: Sequence[str], options: StudyOptions, composer: JobComposer) -> Search:
    """Read the overrides of a sweep into a search.

    Compose every swept value of a grid once, so that an option that does not exist is an error before the study starts.
    Raises `StudyError` for a sweep that cannot be searched, `ConfigError` if no point is valid, and `HydraException`
    for a key or option that does not exist.
    """
    try:
        searches_network = options.widths or options.architecture
        space = parse(arguments, options.params or {}, composer.parser(), searches_network=searches_network)
    except ValueError as error:
        raise explain(error, arguments) from error
    if not composer.is_sweeper_config:
        return _search_of_application(space, options, composer)
    if len(options.directions) > 1:
        raise StudyError("hydra.sweeper.direction must be one: for accuracy and cost add hydra.sweeper.cost=parameters")
    space = _complete(space, options, composer)
    check = FeasibilityCheck(space, composer.experiment)
    base = _base(space, check)
    notes = tuple(check_idle(space, check))
    for key in space.keys if space.grid else ():
        for value in dict.fromkeys(point[key] for point in space.grid or ()):
            with suppress(ConfigError):  # an out-of-bounds value only rejects its own trials
                check.configure({**(space.grid or ({},))[0], key: value})
    return Search(space=space, check=check, base=base, options=options, notes=notes)


def _search_of_application(space: Space, options: StudyOptions, composer: JobComposer) -> Search:
    """Return a search of another Hydra application; without a swept key it is one job."""
    for name in ("cost", "smallest", "widths", "architecture"):
        if getattr(options, name):
            raise StudyError(f"hydra.sweeper.{name} is for sweeper's own networks alone: leave it out")
    space = space if space.distributions else replace(space, grid=({},))
    check = ConstraintCheck(space, composer.job) if constraints() else None
    first = first_point(space)
    application = composer.application(as_overrides(space, first))
    for key, distribution in space.distributions.items():
        for value in getattr(distribution, "choices", ()):  # a mistyped option must not end the search halfway
            composer.job(as_overrides(space, {**first, key: value}))
    return Search(space=space, check=check, base=None, application=application, options=options)


def _complete(space: Space, options: StudyOptions, composer: JobComposer) -> Space:
    """Add the widths that a preset asks for, and turn ranges of integer keys into integer ranges."""
    distributions = dict(space.distributions)
    fixed = space.fixed
    if space.grid is None and (distributions or options.widths or options.architecture):
        base = composer.experiment(fixed)
        if options.architecture:
            fixed = (*fixed, *extended(within_budget(base).model))
            base = composer.experiment(fixed)
        for key, distribution in distributions.items():
            if takes_integers(base, key):
                distributions[key] = as_integers(key, distribution)
        given = {*distributions, *(override.partition("=")[0].lstrip("+") for override in space.fixed)}
        added = architecture_distributions(base.model) if options.architecture else {}
        if options.widths:
            plan = analyze(within_budget(base, kept=fixed_widths(space))).plan
            added |= (front_widths if options.cost else width_distributions)(plan)
        if added:
            check_one_network(space, lambda line: composer.experiment((*fixed, line)))
        # What is typed wins: a key of its own, or a list with all widths of a group.
        lists = tuple(f"{key.lstrip('+')}." for key in space.distributions)
        distributions.update({key: added[key] for key in added if key not in given and not key.startswith(lists)})
    if not distributions:
        raise StudyError(
            "-m needs something to sweep: list values as in model.dropout=0.05,0.1, or choose a preset with "
            f"search=NAME, one of {', '.join(composer.options('search'))}"
        )
    if options.architecture:
        distributions = in_order(distributions)
        # The lists of widths come before any single width.
        return replace(space, distributions=distributions, template=(*fixed, *distributions))
    new = [key for key in distributions if key not in space.distributions]
    return replace(space, distributions=distributions, template=(*space.template, *new))


def _base(space: Space, check: FeasibilityCheck) -> ExperimentConf:
    """Return the composed config, or the first valid point of a grid. Raises the first point's `ConfigError`."""
    first_error: ConfigError | None = None
    # A search may find values that fit the images where those of the composed config do not.
    searches_images = space.grid is None and any(key.lstrip("+").startswith(IMAGE_KEYS) for key in space.keys)

    def configured(params: Params) -> ExperimentConf:
        conf = check.configure(params)
        if not searches_images:
            check_images(conf)
        return conf

    for params in space.grid or ({},):
        try:
            return configured(params)
        except CompositionError:
            raise
        except ConfigError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error
