"""The dry run of a study: lists a grid's jobs or estimates a search. It trains and writes nothing."""

from statistics import median
from typing import Final

import optuna

from sweeper.config.schema import ExperimentConf
from sweeper.data.catalogue import DATASETS
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.space import Space, as_overrides, describe
from sweeper.terminal.console import about
from sweeper.terminal.formats import percent

SAMPLES: Final = 1000
"""Number of random points to check."""
MACS_PER_SECOND: Final = 22e9
"""Multiply-accumulates of forward and backward pass on one core in bf16, measured on the default network (576 thousand
MACs, 13,000 images/s)."""


def describe_grid(space: Space, check: FeasibilityCheck) -> None:
    """Print every job in Hydra's format, with the reason if it would be rejected."""
    for number, params in enumerate(space.grid or ()):
        reason = check.check(params).reason
        print(f"#{number} : {' '.join(as_overrides(space, params))}{f' : {reason}' if reason else ''}")


def describe_search(space: Space, check: FeasibilityCheck, base: ExperimentConf, *, trials: int, jobs: int) -> None:
    """Print the space, and from random points the feasible share, the range of parameters and the expected time."""
    for key, distribution in space.distributions.items():
        print(f"{key} : {describe(distribution)}")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    checked = [check.check(study.ask(space.distributions).params) for _ in range(SAMPLES)]
    feasible = [one.design for one in checked if one.reason is None]
    fix = ", the others are repaired" if feasible else ": raise budget.parameters, or search narrower widths"
    print(f"feasible : {percent(len(feasible) / SAMPLES, 1)} of {SAMPLES:,} random points{fix}")
    counts = [one.design.summary.parameters for one in checked if one.design is not None]
    if counts:
        print(f"parameters : {min(counts):,} to {max(counts):,}")
    macs = [design.summary.macs for design in feasible if design is not None]
    if macs:
        # The backward pass costs about twice the forward pass.
        held_out = base.data.validation_size if base.data.validation == "split" else 0
        images = DATASETS.facts(base.data.name).training_images - held_out
        seconds = 3 * median(macs) * images * base.training.epochs * trials / MACS_PER_SECOND / jobs
        print(f"time : {about(seconds)} for {trials} trials, {jobs} at a time, none of them pruned")
