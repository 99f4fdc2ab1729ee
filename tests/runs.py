"""What tests of reports share: the record of a run that measured given accuracies, without training."""

from pathlib import Path

from sweeper.design import analyze
from sweeper.records import DataRecord, EpochRecord, RunResult, VersionsRecord
from sweeper.report.record import RunRecord
from sweeper.report.run_command import Composition
from sweeper.search.repeating import Repeated

from .composed import compose


def make_record(
    *overrides: str,
    val: list[float],
    train: list[float] | None = None,
    train_eval: float | None = None,
    images: int = 5000,
    lr: list[float] | None = None,
    finished: bool = True,
    planned: int | None = None,
    ending: str | None = None,
) -> RunRecord:
    """A run of the default config, changed by the overrides, that measured these accuracies.

    With `planned` epochs, its limit of time ended it.
    """
    conf = compose([f"training.epochs={planned or len(val)}", *overrides])
    rates = lr or [0.1] * len(val)
    epochs = tuple(
        EpochRecord(
            epoch=index + 1,
            train_loss=0.5,
            train_accuracy=(train or val)[index],
            val_loss=0.4,
            val_accuracy=accuracy,
            lr=rates[index],
            seconds=1.0,
            images_per_second=1000.0,
        )
        for index, accuracy in enumerate(val)
    )
    design = analyze(conf)
    result = RunResult(
        value=val[-1],
        target=conf.target,
        target_met=val[-1] >= conf.target,
        val_accuracy=val[-1],
        val_loss=0.4,
        best_val_accuracy=max(val),
        best_epoch=val.index(max(val)) + 1,
        train_accuracy=(train or val)[-1],
        train_accuracy_eval=val[-1] if train_eval is None else train_eval,
        train_loss_eval=0.3,
        parameters=design.summary.parameters,
        macs=design.summary.macs,
        epochs=len(val),
        seed=conf.seed,
        weights_sha256="",
        versions=VersionsRecord(python="3", torch="2", sweeper="0", git_commit=None, git_dirty=None),
        device="cpu",
        precision="fp32",
        threads=1,
        data=DataRecord(
            name="mnist", sha256="", train_images=55_000, validation_images=images, validation_is_test=False
        ),
        seconds=3.0,
        timed_out=planned is not None,
    )
    return RunRecord(
        folder=Path("outputs/runs/2026-01-01/00-00-00"),
        conf=conf,
        design=design,
        composition=Composition(typed=Repeated(kept=tuple(overrides))),
        epochs=epochs,
        result=result if finished else None,
        mistakes=None,
        ending=ending,
    )
