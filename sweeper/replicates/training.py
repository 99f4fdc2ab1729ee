"""What a worker does with one replicate: it trains in a temporary folder that appears under its name when complete."""

import functools
import os

from sweeper.replicates.replicate import Replicate
from sweeper.startup import loading
from sweeper.study.executors.base import JobResult, failed


def train(job: tuple[int, Replicate]) -> JobResult:
    """Train a run; return its result, or its failure. Its value is the validation accuracy of the last epoch."""
    number, asked = job
    try:
        with loading():
            from sweeper.data.splits import split_cached  # noqa: PLC0415 - torch: the parent process does without
            from sweeper.run.experiment import run  # noqa: PLC0415 - likewise

        completed = run(
            asked.conf, folder=asked.unfinished, read_splits=functools.partial(split_cached, folder=asked.folder)
        )
        os.replace(asked.unfinished, asked.folder)
    except Exception as error:  # noqa: BLE001 - whatever one run raises, the others go on
        return failed(number, error)
    return JobResult(number=number, value=completed.value)
