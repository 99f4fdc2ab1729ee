"""From what was typed to a search: the space, the feasibility_check of its proposals, and the config it starts from."""

import copy
import math
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from sweeper.config.composition import explain
from sweeper.config.loading import load
from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze
from sweeper.errors import CompositionError, ConfigError, StudyError
from sweeper.search.dry_run import describe_grid, describe_search
from sweeper.search.feasibility import FeasibilityCheck, takes_integers, value_at
from sweeper.search.initial_points import advised
from sweeper.search.options import StudyOptions
from sweeper.search.space import Params, Space, as_integers, contains, parse, search_record, width_distributions


class JobComposer:
    """Composes jobs' configs as Hydra's own sweepers do; one at a time, since Hydra's state is global."""

    def __init__(self, context: HydraContext, config: DictConfig) -> None:
        """Compose below that sweep's config."""
        self._context = context
        self._config = config
        self._lock = threading.Lock()
        # Of another Hydra application, which the sweeper serves too, nothing is known but its overrides.
        self.ours = {"model", "training", "budget"} <= set(config)

    def job(self, overrides: Sequence[str]) -> DictConfig:
        """Return a job's config, Hydra's settings included. Raises `CompositionError`, or Hydra's own refusal."""
        try:
            with self._lock:
                return self._context.config_loader.load_sweep_config(self._config, list(overrides))
        except (ValueError, OmegaConfBaseException) as error:
            raise explain(error) from error

    def experiment(self, overrides: Sequence[str]) -> ExperimentConf:
        """Return a job's checked config. Raises `ConfigError` too."""
        config = copy.deepcopy(self.job(overrides))
        with open_dict(config):
            config.pop("hydra", None)
        return load(config)

    def parser(self) -> OverridesParser:
        """Return a parser that knows the config groups, which globs ask for."""
        return OverridesParser.create(config_loader=self._context.config_loader)

    def options(self, group: str) -> list[str]:
        """Return a config group's options."""
        return list(self._context.config_loader.get_group_options(group))


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a study searches."""

    space: Space
    feasibility_check: FeasibilityCheck | None
    """None for an application that is not ours."""
    base: ExperimentConf | None
    """The composed config; of a grid, its first point within bounds. None for an application that is not ours."""
    options: StudyOptions

    @property
    def total(self) -> int:
        """Trials in all."""
        return len(self.space.grid) if self.space.grid is not None else self.options.n_trials

    @property
    def target(self) -> float:
        """The value that ends the search: none for a grid, which always runs whole."""
        ends = self.space.grid is None and self.options.stop_at_target and self.base is not None
        return self.base.target if ends and self.base is not None else math.inf

    @property
    def starts(self) -> tuple[Params, ...]:
        """The points that come first: a grid's, all; a search's, the composed config and those advised instead of it.

        A search whose space does not hold the composed config has none.
        """
        if self.space.grid is not None:
            return self.space.grid
        if self.base is None or self.feasibility_check is None:
            return ()
        start: Params = {key: value_at(self.base, key) for key in self.space.keys}
        if not all(contains(self.space.distributions[key], value) for key, value in start.items()):
            return ()
        return (start, *advised(self.base, start, self.space, self.feasibility_check))

    @property
    def prefix(self) -> str:
        """A readable name: what is swept."""
        keys = (re.sub(r"(\.\d+)+$", "", key.lstrip("+")) for key in self.space.keys)
        return "-".join(dict.fromkeys(key.rpartition(".")[2].partition("@")[0] for key in keys))[:40] or "study"

    def described(self) -> dict[str, Any]:
        """Return what identifies it, for `search.yaml`."""
        base = asdict(self.base) if self.base else {}
        base.pop("logging", None)  # who watches is no part of what is searched
        return search_record(self.space, base)

    def dry_run(self, *, jobs: int) -> None:
        """Print what would be run."""
        if self.feasibility_check is None or self.base is None:
            raise StudyError("hydra.sweeper.dry_run describes networks, but this application has none: leave it out")
        if self.space.grid is not None:
            describe_grid(self.space, self.feasibility_check)
        else:
            describe_search(self.space, self.feasibility_check, self.base, trials=self.total, jobs=jobs)


def read_search(arguments: Sequence[str], options: StudyOptions, composer: JobComposer) -> Search:
    """Read what was typed. Every option of a grid is composed once, so that one that is not there is found now.

    Raises `StudyError` for what cannot be swept, `ConfigError` where not even a first point can be composed.
    """
    try:
        space = parse(arguments, options.params or {}, composer.parser())
    except ValueError as error:
        raise explain(error) from error
    if not composer.ours:
        space = space if space.distributions else replace(space, grid=({},))
        return Search(space=space, feasibility_check=None, base=None, options=options)
    space = _of_our_networks(space, options, composer)
    feasibility_check = FeasibilityCheck(space, composer.experiment)
    base = _base(space, feasibility_check)
    for key in space.keys if space.grid else ():
        for value in dict.fromkeys(point[key] for point in space.grid or ()):
            with suppress(ConfigError):  # a value out of bounds is one rejected trial
                feasibility_check.configure({**(space.grid or ({},))[0], key: value})
    return Search(space=space, feasibility_check=feasibility_check, base=base, options=options)


def _of_our_networks(space: Space, options: StudyOptions, composer: JobComposer) -> Space:
    """Add the widths a preset asks for, and make ranges of whole numbers whole."""
    distributions = dict(space.distributions)
    if space.grid is None and (distributions or options.widths):
        base = composer.experiment(space.fixed)
        for key, distribution in distributions.items():
            if takes_integers(base, key):
                distributions[key] = as_integers(key, distribution)
        if options.widths:
            typed = set(distributions) | {override.partition("=")[0] for override in space.fixed}
            widths = width_distributions(analyze(base).plan)
            distributions.update({key: widths[key] for key in widths if key not in typed})
    if not distributions:
        raise StudyError(
            "-m needs something to sweep: list values as in model.dropout=0.05,0.1, or take search= one of "
            f"{', '.join(composer.options('search'))}"
        )
    added = [key for key in distributions if key not in space.distributions]
    return replace(space, distributions=distributions, template=(*space.template, *added))


def _base(space: Space, feasibility_check: FeasibilityCheck) -> ExperimentConf:
    error: ConfigError | None = None
    for params in space.grid or ({},):
        try:
            return feasibility_check.configure(params)
        except CompositionError:
            raise
        except ConfigError as caught:
            error = error or caught
    assert error is not None
    raise error
