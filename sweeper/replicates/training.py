"""What a worker does with a replicate: it trains in a temporary folder, renamed when complete; it evaluates on the test set."""

import functools
import os

from sweeper.replicates.replicate import Replicate
from sweeper.startup import loading
from sweeper.study.executors.base import JobResult, failed


def train(job: tuple[int, Replicate]) -> JobResult:
    """Train a run; return its result, or its failure.

    Its value is the validation accuracy of the last epoch, or without validation the training accuracy.
    """
    number, asked = job
    try:
        value = _train(asked)
        os.replace(asked.unfinished, asked.folder)
    except Exception as error:  # noqa: BLE001 - whatever one run raises, the others go on
        return failed(number, error)
    return JobResult(number=number, value=value)


def evaluate(job: tuple[int, Replicate]) -> JobResult:
    """Evaluate a complete run without validation on the test set; its value is the accuracy there."""
    number, trained = job
    try:
        with loading():
            from sweeper.run.refit import evaluate_on_test  # noqa: PLC0415 - torch: the parent process does without

        return JobResult(number=number, value=evaluate_on_test(trained.folder).accuracy)
    except Exception as error:  # noqa: BLE001 - as above
        return failed(number, error)


def _train(asked: Replicate) -> float:
    with loading():
        from sweeper.data.splits import split_cached  # noqa: PLC0415 - torch: the parent process does without
        from sweeper.run.experiment import run  # noqa: PLC0415 - likewise
        from sweeper.run.refit import refit  # noqa: PLC0415 - likewise

    read_splits = functools.partial(split_cached, folder=asked.folder)
    if asked.conf.data.validation == "none":
        return refit(asked.conf, folder=asked.unfinished, read_splits=read_splits).train_accuracy
    # Seeds are compared, whose trainings must be equally long: `training.timeout` ends none of them.
    epochs = asked.conf.training.epochs
    return run(asked.conf, folder=asked.unfinished, read_splits=read_splits, epochs=epochs).value
