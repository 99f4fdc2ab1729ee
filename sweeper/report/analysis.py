"""The analysis of a run's measurements: each rule yields an observation with evidence and a command to try next."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sweeper.network.diagnosis import Finding
from sweeper.network.layers import Conv
from sweeper.report import suggestions
from sweeper.report.ending import divergence, ending, time_limit
from sweeper.report.epoch_rules import decline, is_lr_high, oscillation, still_improving
from sweeper.report.noise import generalization_noise, noise, pair_noise
from sweeper.report.observation import Observation
from sweeper.report.record import Baseline, RunRecord, confirm_command
from sweeper.terminal.formats import percent, points

CEILING_REACHED: Final = 0.95
"""Fraction of its ceiling above which training accuracy counts as limited by it, not by the number of epochs."""
OVERFIT_POINTS: Final = 0.005
"""Smallest difference between training and validation accuracy, a fraction, that is worth a change."""
UNDERFIT_ERRORS: Final = 2
"""A network under-fits if its training error is at least this multiple of the error that the target allows."""
MOSTLY_WRONG: Final = 0.5
"""Training accuracy below which a network needs more steps before it needs more channels."""
BUDGET_USED: Final = 0.8
"""Fraction of the budget below which a network that misses its target counts as too small."""


def observe(record: RunRecord, baseline: Baseline) -> list[Observation]:
    """Return the observations of all rules, the most important first."""
    rules: tuple[Callable[[RunRecord], Iterator[Observation]], ...] = (
        divergence,
        _erased_signal,
        time_limit,
        decline,
        _under_fitting,
        _over_fitting,
        _bottleneck,
        oscillation,
        still_improving,
        _unused_budget,
    )
    return [observation for rule in rules for observation in rule(record)] + list(_noise(record, baseline))


def next_command(record: RunRecord, observations: list[Observation]) -> str:
    """Return the most useful command to try next."""
    if record.result is None and ending(record) != "diverged":
        return record.command()  # what it would have shown is not known, so run it to its end
    is_met = record.result is not None and record.value >= record.conf.target
    doubtful = [observation.command for observation in observations if observation.rule == "within_noise"]
    if is_met and doubtful:
        return doubtful[0]
    if is_met and record.conf.data.validation == "split":  # what the test set has chosen, it cannot confirm
        return confirm_command(record.folder)
    if observations and not is_met:
        return observations[0].command
    if record.conf.augment.name == "none":
        return record.command("augment=affine")
    return record.command(f"seed={record.conf.seed + 1}")


def _erased_signal(record: RunRecord) -> Iterator[Observation]:
    """Training accuracy, measured with dropout on, cannot exceed a ceiling if dropout erases whole images."""
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
                f"{' × '.join(f'{1 - layer.dropout:g}' for layer in narrow)} = {percent(survival, 1)} of passes keep a signal"
            )
        else:
            where = f"dropout in {_named(list(finding.layers))} erases every channel at once in {percent(1 - survival, 1)} of passes"
        evidence = {"survival": survival, "ceiling": ceiling, "best_train_accuracy": best}
        if best < CEILING_REACHED * ceiling:
            yield Observation(
                rule="erased_signal",
                text=f"Training accuracy, measured with dropout on, cannot exceed about {percent(ceiling, 1)}: {where}, and an "
                f"image without a signal can only be guessed. The best epoch has {percent(best)}, below that ceiling.",
                evidence=evidence,
                command=command,
            )
            continue
        fits = ""
        if record.result is not None:
            evidence["train_accuracy_eval"] = record.result.train_accuracy_eval
            fits = (
                " With dropout off, the same weights classify "
                f"{percent(record.result.train_accuracy_eval)} of the training images correctly."
            )
        yield Observation(
            rule="erased_signal_ceiling",
            text=f"Training accuracy is at its ceiling, which is not under-fitting: {where}. An image without a signal "
            f"can only be guessed, so training accuracy, measured with dropout on, cannot exceed about {percent(ceiling, 1)}: "
            f"the best epoch has {percent(best)}.{fits}",
            evidence=evidence,
            command=command,
        )


def _under_fitting(record: RunRecord) -> Iterator[Observation]:
    """With dropout off, training images are misclassified too often for the target, and about as often as others.

    Measured on 3,000 digits of mnist5k, a network of 655 parameters, 10 epochs, mean of seeds 1 to 3: 91.5 % as it is,
    96.1 % with its widths almost doubled, 92.9 % with twice the epochs.
    """
    # Weights that collapsed in the last epoch say nothing of what the network can learn, nor does a training cut short.
    if record.result is None or record.result.timed_out or _met(record) or any(decline(record)):
        return
    train, target = record.result.train_accuracy_eval, record.conf.target
    if 1 - train < UNDERFIT_ERRORS * (1 - target) or _is_over_fitted(record):
        return
    is_early = len(record.epochs) == 1 or train < MOSTLY_WRONG or any(still_improving(record))
    wider = [] if is_early else suggestions.wider(record.conf)
    yield Observation(
        rule="under_fitting",
        text=f"{_accuracy(record)} is {percent(train)} on training images, below the target of {percent(target)}, and "
        f"{percent(record.value)} on {record.evaluated_on} images: the network has not learned the task yet. That is not "
        "over-fitting.",
        evidence={"train_accuracy_eval": train, "val_accuracy": record.value, "target": target},
        command=record.command(*wider) if wider else record.command(f"training.epochs={2 * len(record.epochs)}"),
    )


def _over_fitting(record: RunRecord) -> Iterator[Observation]:
    """With dropout off, training images are classified better than validation images.

    Measured on 3,000 digits of mnist5k, model=quick, mean of seeds 1 to 3: 10 epochs 97.7 %, with augment=affine 98.0 %, and
    20 epochs with it 98.7 %.
    """
    if record.result is None or not _is_over_fitted(record) or any(decline(record)):
        return
    train, by_chance = record.result.train_accuracy_eval, generalization_noise(record).size
    gap = train - record.value
    is_augmented = record.conf.augment.name != "none"
    change = f"training.epochs={2 * record.conf.training.epochs}" if is_augmented else "augment=affine"
    yield Observation(
        rule="over_fitting",
        text=f"{_accuracy(record)} is {percent(train)} on training images and {percent(record.value)} on "
        f"{record.evaluated_on} images: {points(gap)} do not generalize; up to {points(by_chance)} would be noise.",
        evidence={"train_accuracy_eval": train, "val_accuracy": record.value, "gap": gap, "noise": by_chance},
        command=record.command(change),
    )


def _bottleneck(record: RunRecord) -> Iterator[Observation]:
    """A layer passes on fewer values than its neighbours need."""
    findings = _findings(record, "bottleneck")
    if not findings:
        return
    names = list(dict.fromkeys(name for finding in findings for name in finding.layers))
    # The command below widens them, so what the message itself suggests is left out.
    texts = [finding.message.partition(" Widen")[0] for finding in findings]
    repaired = suggestions.repaired(record.conf)
    # Only a search that Hydra composes from sweeper's own configs can be of widths.
    is_search = not repaired and record.composition.origin is not None
    changes = repaired or (["search=widths"] if is_search else suggestions.wider(record.conf))
    yield Observation(
        rule="bottleneck",
        text=" ".join(dict.fromkeys(texts)),
        evidence={f"{name}.channels": layer.out_channels for name, layer in _convs(record) if name in names},
        command=record.command(*changes, sweep=is_search),
    )


def _unused_budget(record: RunRecord) -> Iterator[Observation]:
    """The target was missed, and much of the budget is unused; `_under_fitting` has the measurement."""
    limit, count = record.conf.budget.parameters, record.design.summary.parameters
    if record.result is None or limit is None or _met(record) or count >= BUDGET_USED * limit:
        return
    # At a learning rate that is high to the end, a wider network was no better: see `decline`.
    if any(decline(record)) or is_lr_high(record):
        return
    wider = suggestions.wider(record.conf)
    if not wider:  # another limit leaves no room
        return
    yield Observation(
        rule="unused_budget",
        text=f"The network misses its target with {count:,} of {limit:,} parameters, {percent(count / limit, 0)}: "
        f"{limit - count:,} are unused.",
        evidence={"parameters": count, "budget": limit},
        command=record.command(*wider),
    )


def _noise(record: RunRecord, baseline: Baseline) -> Iterator[Observation]:
    """The gain over the baseline run, or over the target, is within noise."""
    if record.result is None:
        return
    if baseline.record is not None and baseline.record.result is not None:
        other = baseline.record.value
        size = pair_noise(record, baseline.record).size
        over = f"{baseline.name}'s {percent(other)}"
    else:
        other, size, over = record.conf.target, noise(record), f"the target of {percent(record.conf.target)}"
    gain = record.value - other
    if not 0 < gain <= size:
        return
    yield Observation(
        rule="within_noise",
        text=f"{percent(record.value)} is {points(gain)} above {over}, but on {record.images:,} {record.evaluated_on} images "
        f"up to {points(size)} would be noise, and another seed changes the result too: one run does not prove the gain.",
        evidence={"gain": gain, "noise": size},
        command=record.command(suggestions.SEEDS, sweep=True),
    )


def _findings(record: RunRecord, rule: str) -> list[Finding]:
    return [finding for finding in record.design.findings if finding.rule == rule]


def _convs(record: RunRecord) -> Iterator[tuple[str, Conv]]:
    return ((layer.name, layer) for layer in record.design.plan.layers if isinstance(layer, Conv))


def _accuracy(record: RunRecord) -> str:
    return "With dropout off, accuracy" if record.has_dropout else "Accuracy"


def _met(record: RunRecord) -> bool:
    return record.result is not None and record.value >= record.conf.target


def _is_over_fitted(record: RunRecord) -> bool:
    """Whether training accuracy, dropout off, is above validation accuracy by more than noise and enough to matter.

    If training images are further from the target than validation images from them, the network under-fits first.
    """
    if record.result is None:
        return False
    train = record.result.train_accuracy_eval
    gap = train - record.value
    return gap >= max(OVERFIT_POINTS, record.conf.target - train) and not generalization_noise(record).covers(gap)


def _shared(layers: Sequence[Conv]) -> str:
    return " and ".join(dict.fromkeys(f"{layer.dropout:g}" for layer in layers))


def _named(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
