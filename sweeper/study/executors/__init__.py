"""The executors, which run a study's jobs: one file each; `make_executor` chooses one."""

import functools
from collections.abc import Callable, Sequence
from typing import Final

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.errors import StudyError
from sweeper.study.executors.base import Executor, Job, run_hydra_job
from sweeper.study.executors.clock import TrialClock
from sweeper.study.executors.hydra_launcher import HydraLauncher
from sweeper.study.executors.in_process import InProcess
from sweeper.study.executors.ray_cluster import RayCluster
from sweeper.study.executors.ray_engine import RayEngine
from sweeper.study.executors.submitit_jobs import SubmititJobs
from sweeper.study.executors.submitter import check_settings, cluster_of, settings_of
from sweeper.study.executors.workers import Workers

BASIC: Final = "basic"
"""Hydra's default launcher, which runs jobs one after another; sweeper's own executors replace it."""
RAY: Final = "ray"
"""The launcher of hydra-ray-launcher, which runs jobs in batches; an executor on Ray itself replaces it."""


def is_local(config: DictConfig) -> bool:
    """Whether the sweep's jobs run on this machine: with another launcher than Hydra's own, they may not."""
    return bool(config.hydra.runtime.choices.get("hydra/launcher") == BASIC)


def connect(config: DictConfig) -> RayEngine | None:
    """Connect to Ray, or check what submitit would get, before a study is opened: a refusal leaves nothing behind.

    `make_executor` takes what this returns, and the caller closes it. Raises `StudyError` if the sweep's launcher asks
    for what there is not, or cannot end a trial that has a limit.
    """
    if config.hydra.runtime.choices.get("hydra/launcher") == RAY:
        return RayEngine(config)
    cluster = cluster_of(config)
    if cluster is not None:
        check_settings(cluster, settings_of(config))
    elif not is_local(config) and config.hydra.sweeper.get("trial_timeout") is not None:
        raise StudyError(
            f"hydra.sweeper.trial_timeout needs a launcher whose trials can be ended one by one, but hydra/launcher="
            f"{config.hydra.runtime.choices['hydra/launcher']} runs them in batches: leave one of the two out, or choose "
            "hydra/launcher=ray, submitit_local or submitit_slurm"
        )
    return None


def make_executor(
    engine: RayEngine | None,
    context: HydraContext,
    task: TaskFunction,
    config: DictConfig,
    compose: Callable[[Job], DictConfig],
    *,
    jobs: int,
    clock: TrialClock,
    modules: Sequence[str] = (),
    on_wait: Callable[[str], None] = lambda _: None,
) -> Executor:
    """Make the executor for the sweep's launcher, with `jobs` jobs at a time; `compose` returns a job's config.

    `engine` is what `connect` has returned for this config, in which the study's folder is known by now. `clock` has the
    limit of a job's time; a process that runs jobs imports `modules` before their time begins.
    `on_wait` receives one line when jobs have to wait for the launcher's engine or for the storage, or are started again.
    Ray and submitit decide themselves how many jobs there is room for, unless ``hydra.sweeper.n_jobs`` is given.
    """
    run = functools.partial(run_hydra_job, context, task)
    given = config.hydra.sweeper.get("n_jobs")
    if engine is not None:
        return RayCluster(engine, run, compose, config, jobs=given, clock=clock, modules=modules, on_wait=on_wait)
    cluster = cluster_of(config)
    if cluster is not None:
        return SubmititJobs(
            run, compose, config, cluster=cluster, jobs=given, clock=clock, modules=modules, on_wait=on_wait
        )
    if not is_local(config):
        return HydraLauncher(context, task, config, capacity=jobs)
    if jobs == 1 and clock.limit is None:  # a job of this process could not be ended
        return InProcess(context, task, compose)
    return Workers(run, compose, capacity=jobs, clock=clock, modules=modules, on_wait=on_wait)
