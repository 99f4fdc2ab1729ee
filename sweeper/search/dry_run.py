"""What a study would do: a grid's jobs, or what random points of a search are like. Nothing is trained or written."""

from statistics import median
from typing import Final

import optuna

from sweeper.config.schema import ExperimentConf
from sweeper.data.catalogue import DATASETS
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.space import Space, as_overrides, describe
from sweeper.terminal.console import about

SAMPLES: Final = 1000
MACS_PER_SECOND: Final = 22e9
"""Forward and backward, one core in bf16: measured on the default network (576 thousand MACs, 13,000 images/s)."""


def describe_grid(space: Space, feasibility_check: FeasibilityCheck) -> None:
    """Print every job, as Hydra lists jobs, with the reason of those that would be rejected."""
    for number, params in enumerate(space.grid or ()):
        reason = feasibility_check.check(params).reason
        print(f"#{number} : {' '.join(as_overrides(space, params))}{f' : {reason}' if reason else ''}")


def describe_search(
    space: Space, feasibility_check: FeasibilityCheck, base: ExperimentConf, *, trials: int, jobs: int
) -> None:
    """Print the space, and of random points the share within the budget, the range of parameters and the time."""
    for key, distribution in space.distributions.items():
        print(f"{key} : {describe(distribution)}")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    feasibilities = [feasibility_check.check(study.ask(space.distributions).params) for _ in range(SAMPLES)]
    feasible = [feasibility.design for feasibility in feasibilities if feasibility.reason is None]
    advice = "" if feasible else ": raise budget.parameters, or search narrower widths"
    print(f"feasible : {len(feasible) / SAMPLES:.1%} of {SAMPLES:,} random points{advice}")
    counts = [feasibility.design.summary.parameters for feasibility in feasibilities if feasibility.design is not None]
    if counts:
        print(f"parameters : {min(counts):,} to {max(counts):,}")
    macs = [design.summary.macs for design in feasible if design is not None]
    if macs:
        # The backward pass costs about twice the forward one.
        held_out = base.data.validation_size if base.data.validation == "split" else 0
        images = DATASETS.facts(base.data.name).training_images - held_out
        seconds = 3 * median(macs) * images * base.training.epochs * trials / MACS_PER_SECOND / jobs
        print(f"time : {about(seconds)} for {trials} trials, {jobs} at a time, none of them pruned")
