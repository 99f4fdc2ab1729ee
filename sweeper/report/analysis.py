"""What a run's numbers mean: rules over its record, each observation with its evidence and what to try next."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sweeper.network.diagnosis import Finding
from sweeper.network.plan import Conv
from sweeper.report.record import Baseline, RunRecord
from sweeper.report import suggestions

CONFIDENCE_95: Final = 1.96
"""Standard errors on either side of a mean that hold it in 95 of 100 cases."""
CEILING_REACHED: Final = 0.95
"""Share of its ceiling from which training accuracy is held down by it, not by a lack of epochs."""
LAST_EPOCHS: Final = 5
"""How many epochs the end of a run is."""
SPREAD_95: Final = 1.614
"""Standard errors that the root mean square around a line through `LAST_EPOCHS` stays below in 95 of 100 cases: the root of
a third of chi-square's 7.815, with three degrees of freedom."""
OVERFIT_POINTS: Final = 0.005
"""Accuracy on training images above that on validation images that is worth a word, as a fraction."""
UNDERFIT_ERRORS: Final = 2
"""Times the errors that the target allows, made on training images, from which the network is said not to fit them."""
HIGH_LR: Final = 0.1
"""Share of its peak from which a learning rate at the end is still high."""
BUDGET_USED: Final = 0.8
"""Share of the budget below which a network that misses its target is too small to have tried."""
SEEDS: Final = "seed=1,2,3,4,5"


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One thing that a run's numbers show."""

    rule: str
    """Which rule saw it."""
    text: str
    """What, with the numbers that show it."""
    evidence: dict[str, float]
    """These numbers."""
    command: str
    """What to try next, as one types it."""


def analyse(record: RunRecord, held_against: Baseline) -> list[Observation]:
    """Apply every rule, the weightiest first."""
    rules: tuple[Callable[[RunRecord], Iterator[Observation]], ...] = (
        _erased_signal,
        _under_fitting,
        _over_fitting,
        _bottleneck,
        _oscillation,
        _still_improving,
        _unused_budget,
    )
    return [observation for rule in rules for observation in rule(record)] + list(_noise(record, held_against))


def next_command(record: RunRecord, observations: list[Observation]) -> str:
    """Return the most useful thing to try next."""
    if observations and not _met(record):
        return observations[0].command
    if record.conf.augment.name == "none":
        return record.command("augment=affine")
    return record.command(f"seed={record.conf.seed + 1}")


def standard_error(accuracy: float, images: int) -> float:
    """Return the standard error of an accuracy, a fraction, that was measured on so many images.

    Binomial, with two successes and two failures added so that 100 % of few images is not held for certain
    (Agresti and Coull, *Approximate is better than exact*, 1998).
    """
    share = (accuracy * images + 2) / (images + 4)
    return math.sqrt(share * (1 - share) / (images + 4))


def images(record: RunRecord) -> int:
    """Return how many images judged; a run that was cut short has not written it down, but its config says it."""
    if record.result is not None:
        return int(record.result.data.validation_images)
    return record.conf.data.validation_size


def _erased_signal(record: RunRecord) -> Iterator[Observation]:
    """Training accuracy is measured with dropout on: it cannot pass what dropout lets through."""
    for finding in _findings(record, "erased_signal"):
        ceiling, survival = finding.evidence["training_accuracy_ceiling"], finding.evidence["survival"]
        best = max(epoch.train_accuracy for epoch in record.epochs)
        layers = {layer.name: layer for layer in record.design.plan.layers if isinstance(layer, Conv)}
        erasing = [layers[name] for name in finding.layers]
        groups = dict.fromkeys(layer.group for layer in erasing)
        command = record.command(*(f"model.groups.{group}.dropout=0" for group in groups))
        narrow = [layer for layer in erasing if layer.out_channels == 1 and layer.dropout_kind == "channel"]
        if len(narrow) == len(erasing):
            where = (
                f"{_named([layer.name for layer in narrow])} {'each drop their' if len(narrow) > 1 else 'drops its'} "
                f"single channel, and with it the whole image, with probability {_shared(narrow)}; "
                f"{' × '.join(f'{1 - layer.dropout:g}' for layer in narrow)} = {survival:.1%} of passes keep a signal"
            )
        else:
            where = f"dropout in {_named(list(finding.layers))} erases every channel at once in {1 - survival:.1%} of passes"
        evidence = {"survival": survival, "ceiling": ceiling, "best_train_accuracy": best}
        if best < CEILING_REACHED * ceiling:
            yield Observation(
                rule="erased_signal",
                text=f"Training accuracy, seen with dropout on, cannot pass about {ceiling:.1%}: {where}, and an image "
                f"without one can only be guessed. It stands at {best:.2%}, not there yet.",
                evidence=evidence,
                command=command,
            )
            continue
        fits = ""
        if record.result is not None:
            evidence["train_accuracy_eval"] = record.result.train_accuracy_eval
            fits = (
                " With dropout off the same weights have "
                f"{record.result.train_accuracy_eval:.2%} of the training images right."
            )
        yield Observation(
            rule="erased_signal_ceiling",
            text=f"Training accuracy is at its ceiling, and that is not under-fitting: {where}. "
            f"An image without one can only be guessed, so training accuracy, measured with dropout on, cannot pass "
            f"about {ceiling:.1%}: the best epoch has {best:.2%}.{fits}",
            evidence=evidence,
            command=command,
        )


def _under_fitting(record: RunRecord) -> Iterator[Observation]:
    """Judged with dropout off: training images are missed as well, about as many as validation images."""
    if record.result is None or _met(record):
        return
    train, target = record.result.train_accuracy_eval, record.conf.target
    if 1 - train < UNDERFIT_ERRORS * (1 - target) or train - record.value > _overfit_margin(record):
        return
    wider = [] if len(record.epochs) == 1 or any(_still_improving(record)) else suggestions.wider(record.conf)
    yield Observation(
        rule="under_fitting",
        text=f"With dropout off, {train:.2%} of the training images are right, fewer than the {target:.2%} wanted, and "
        f"{record.value:.2%} of the {record.judges} images: it has not learned the task yet, "
        "rather than learned its images by heart.",
        evidence={"train_accuracy_eval": train, "val_accuracy": record.value, "target": target},
        command=record.command(*wider) if wider else record.command(f"training.epochs={2 * len(record.epochs)}"),
    )


def _over_fitting(record: RunRecord) -> Iterator[Observation]:
    """Judged with dropout off: training images are right that validation images are not."""
    if record.result is None:
        return
    train = record.result.train_accuracy_eval
    gap, margin = train - record.value, _overfit_margin(record)
    if gap <= margin:
        return
    if record.conf.augment.name == "none":
        change = "augment=affine"
    elif record.conf.training.label_smoothing == 0:
        change = "training.label_smoothing=0.1"
    else:
        change = f"optimizer.weight_decay={2 * record.conf.optimizer.weight_decay or 5e-4:g}"
    yield Observation(
        rule="over_fitting",
        text=f"With dropout off, {train:.2%} of the training images are right and {record.value:.2%} of the "
        f"{record.judges} images: {_points(gap)} of what it learned does not carry over, where "
        f"{_points(margin)} would be within the noise.",
        evidence={"train_accuracy_eval": train, "val_accuracy": record.value, "gap": gap, "margin": margin},
        command=record.command(change),
    )


def _bottleneck(record: RunRecord) -> Iterator[Observation]:
    """A layer, the head's input say, passes on fewer numbers than its neighbours need."""
    findings = _findings(record, "bottleneck")
    if not findings:
        return
    names = list(dict.fromkeys(name for finding in findings for name in finding.layers))
    repair = suggestions.repaired(record.conf)
    yield Observation(
        rule="bottleneck",
        text=" ".join(dict.fromkeys(finding.message.partition(" Widen")[0] for finding in findings)),
        evidence={f"{name}.channels": layer.out_channels for name, layer in _convs(record) if name in names},
        command=record.command(*repair) if repair else record.command("search=widths", sweep=True),
    )


def _oscillation(record: RunRecord) -> Iterator[Observation]:
    """The last epochs go up and down around their trend by more than the measurement's own noise (95 %)."""
    last = record.epochs[-LAST_EPOCHS:]
    # In the middle of its schedule a run goes up and down anyway: that says nothing yet.
    if record.result is None or len(last) < LAST_EPOCHS:
        return
    slope, middle = _trend([epoch.val_accuracy for epoch in last])
    away = [epoch.val_accuracy - middle - slope * (at - (len(last) - 1) / 2) for at, epoch in enumerate(last)]
    # The line took two of the freedoms.
    spread = math.sqrt(sum(distance**2 for distance in away) / (len(last) - 2))
    noise = SPREAD_95 * standard_error(middle, images(record))
    if spread <= noise:
        return
    lr, peak = last[-1].lr, record.conf.optimizer.lr
    likely = (
        f"The learning rate is still {lr:.2g}, {lr / peak:.0%} of its peak: that is the likely reason."
        if lr > HIGH_LR * peak
        else f"The learning rate has come down to {lr:.2g}, so its peak of {peak:.2g} or the batch size is to be doubted."
    )
    annealed = record.conf.scheduler.name == "onecycle"
    yield Observation(
        rule="oscillation",
        text=f"In the last {len(last)} epochs {record.judges} accuracy goes up and down by {spread * 100:.2f} points "
        f"(root mean square) around its trend, between {min(epoch.val_accuracy for epoch in last):.2%} and "
        f"{max(epoch.val_accuracy for epoch in last):.2%}; {images(record):,} images alone explain "
        f"up to {noise * 100:.2f} (95 %). {likely}",
        evidence={"spread": spread, "noise": noise, "lr": lr},
        command=record.command(f"optimizer.lr={record.conf.optimizer.lr / 2:g}" if annealed else "scheduler=onecycle"),
    )


def _still_improving(record: RunRecord) -> Iterator[Observation]:
    """The last epoch is the best, and above the one before by more than the noise (95 %)."""
    if len(record.epochs) < 2 or record.best is not record.epochs[-1]:
        return
    before, last = (epoch.val_accuracy for epoch in record.epochs[-2:])
    noise = CONFIDENCE_95 * standard_error(last, images(record))
    if last - before <= noise:
        return
    yield Observation(
        rule="still_improving",
        text=f"It was still improving when it stopped: the last epoch went from {before:.2%} to {last:.2%}, "
        f"{_points(last - before)}, where {_points(noise)} would be within the noise.",
        evidence={"gain": last - before, "noise": noise},
        command=record.command(f"training.epochs={2 * record.conf.training.epochs}"),
    )


def _unused_budget(record: RunRecord) -> Iterator[Observation]:
    """The target was missed with parameters left."""
    limit, count = record.conf.budget.parameters, record.design.summary.parameters
    if limit is None or _met(record) or count >= BUDGET_USED * limit:
        return
    yield Observation(
        rule="unused_budget",
        text=f"{count:,} of {limit:,} parameters are used, {count / limit:.0%}: {limit - count:,} are left, "
        "and the target was missed.",
        evidence={"parameters": count, "budget": limit},
        command=record.command(*suggestions.wider(record.conf)),
    )


def _noise(record: RunRecord, held_against: Baseline) -> Iterator[Observation]:
    """A gain, over the first trial or over the target, is smaller than what the measurement itself scatters by."""
    count = images(record)
    own = standard_error(record.value, count)
    if held_against.record is not None:
        other = held_against.record.value
        noise = CONFIDENCE_95 * math.hypot(own, standard_error(other, images(held_against.record)))
        over = f"{held_against.name}'s {other:.2%}"
    else:
        other, noise, over = record.conf.target, CONFIDENCE_95 * own, f"the target of {record.conf.target:.2%}"
    gain = record.value - other
    if not 0 < gain <= noise:
        return
    yield Observation(
        rule="within_noise",
        text=f"{record.value:.2%} is {_points(gain)} above {over}, but {count:,} {record.judges} images leave "
        f"±{noise * 100:.2f} points (95 %), and another seed draws anew: one run does not show that gain.",
        evidence={"gain": gain, "noise": noise},
        command=record.command(SEEDS, sweep=True),
    )


def _findings(record: RunRecord, rule: str) -> list[Finding]:
    return [finding for finding in record.design.findings if finding.rule == rule]


def _convs(record: RunRecord) -> Iterator[tuple[str, Conv]]:
    return ((layer.name, layer) for layer in record.design.plan.layers if isinstance(layer, Conv))


def _met(record: RunRecord) -> bool:
    return record.result is not None and record.value >= record.conf.target


def _overfit_margin(record: RunRecord) -> float:
    return max(OVERFIT_POINTS, CONFIDENCE_95 * standard_error(record.value, images(record)))


def _trend(values: list[float]) -> tuple[float, float]:
    """Return slope per step and mean of the least-squares line."""
    mean, centre = sum(values) / len(values), (len(values) - 1) / 2
    slope = sum((at - centre) * value for at, value in enumerate(values)) / sum(
        (at - centre) ** 2 for at in range(len(values))
    )
    return slope, mean


def _shared(layers: list[Conv]) -> str:
    return " and ".join(dict.fromkeys(f"{layer.dropout:g}" for layer in layers))


def _named(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _points(fraction: float) -> str:
    return f"{fraction * 100:.2f} points"
