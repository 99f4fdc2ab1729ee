"""The dry run of a study: lists a grid's jobs or estimates a search. It trains and writes nothing."""

import math
import time
from statistics import median
from typing import Final

import optuna

from sweeper.config.schema import ExperimentConf
from sweeper.data.catalogue import DATASETS, training_images
from sweeper.search.constraints import ConstraintCheck
from sweeper.search.feasibility import Feasibility, FeasibilityCheck
from sweeper.search.proposals import ProposalRepair
from sweeper.search.space import Space, as_overrides, describe
from sweeper.search.within_budget import advice, any_fits, tightest
from sweeper.terminal.console import about
from sweeper.terminal.formats import percent

SAMPLES: Final = 1000
"""Maximum number of random points to check."""
SAMPLING_SECONDS: Final = 5.0
"""No further points are checked after so long: those that Hydra must compose take 50 ms each, all others 1 ms."""
MACS_PER_SECOND: Final = 22e9
"""Multiply-accumulates of forward and backward pass on one core in bf16, measured on the default network (576 thousand
MACs, 13,000 images/s)."""
STEP_SECONDS: Final = 0.003
"""What a training step takes beside its multiply-accumulates, measured with batches of 64 and 256."""
TRIAL_SECONDS: Final = 1.0
"""What a trial takes beside its epochs: proposal, first step, report. Measured on trials of one epoch."""
START_SECONDS: Final = 4.0
"""What a search takes before its first trial trains: imports of torch, data."""


def describe_grid(space: Space, check: FeasibilityCheck | ConstraintCheck | None) -> None:
    """Print every job in Hydra's format, with the reason if it would be rejected."""
    for number, params in enumerate(space.grid or ()):
        reason = check.check(params).reason if check else None
        print(f"#{number} : {' '.join(as_overrides(space, params))}{f' : {reason}' if reason else ''}")


def describe_space(space: Space, *, trials: int) -> None:
    """Print the space and the number of trials."""
    for key, distribution in space.distributions.items():
        print(f"{key} : {describe(distribution)}")
    print(f"trials : {trials}")


def describe_search(
    space: Space,
    check: FeasibilityCheck,
    base: ExperimentConf,
    *,
    trials: int,
    jobs: int,
    repair: ProposalRepair | None,
) -> None:
    """Print the space, and from random points the feasible share, the range of parameters and the expected time.

    `repair` is what narrows proposals over budget; without it the search rejects them.
    """
    for key, distribution in space.distributions.items():
        print(f"{key} : {describe(distribution)}")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    checked: list[Feasibility] = []
    end = time.monotonic() + SAMPLING_SECONDS
    while len(checked) < SAMPLES and (not checked or time.monotonic() < end):
        checked.append(check.check(study.ask(space.distributions).params))
    feasible = [one.design for one in checked if one.reason is None]
    others = ", the others are repaired" if repair else ", the others are rejected and do not count in n_trials"
    helps = feasible or (repair is not None and any_fits(space, repair))
    counts = [one.design.summary.parameters for one in checked if one.design is not None]
    fix = f": {advice(tightest(checked))}" if counts else f": {checked[0].reason}"
    print(
        f"feasible : {percent(len(feasible) / len(checked), 1)} of {len(checked):,} random points{others if helps else fix}"
    )
    if counts:
        print(f"parameters : {min(counts):,} to {max(counts):,}")
    macs = [design.summary.macs for design in feasible if design is not None]
    if macs:
        seconds = expected_seconds(base, median(macs), trials=trials, jobs=jobs)
        print(f"time : {about(seconds)} for {trials} trials, {jobs} at a time on idle cores, none of them pruned")


def expected_seconds(base: ExperimentConf, macs: float, *, trials: int, jobs: int) -> float:
    """Return how long a search takes on idle cores, in seconds, for networks of so many multiply-accumulates."""
    facts, images = DATASETS.facts(base.data.name), training_images(base.data)
    measured = facts.test_images if base.data.validation == "test" else facts.training_images - images
    steps = math.ceil(images / base.training.batch_size)
    # The backward pass costs about twice the forward pass; evaluation has none.
    epoch = (3 * images + measured) * macs / MACS_PER_SECOND + steps * STEP_SECONDS
    return START_SECONDS + math.ceil(trials / jobs) * (base.training.epochs * epoch + TRIAL_SECONDS)
