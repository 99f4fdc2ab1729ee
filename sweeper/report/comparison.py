"""Decides what a comparison of runs says: their order, which is best and whether by more than noise, what differs."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final

from sweeper.report.ending import LEADS, ending, epochs_trained
from sweeper.report.noise import noise, pair_noise
from sweeper.report.record import RunRecord, during_and_after
from sweeper.report.run_command import differences
from sweeper.report.run_names import short_names
from sweeper.report.run_report import format_value
from sweeper.report.run_sentence import dataset_title, seconds
from sweeper.terminal.formats import counted, duration, percent, plus_minus, points

SIDE_BY_SIDE: Final = 3
"""Number of runs up to which each run gets a column; more get a row each."""
MOST_COLUMNS: Final = 8
"""Likewise if the fields are more than twice as many as the runs."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value of one run."""

    text: str
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value of each run, under its name."""

    name: str
    cells: list[Cell]
    is_key: bool = False
    """Whether it is a key of the config."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs, the best first within each set of images, and what a page says about them."""

    records: list[RunRecord]
    names: list[str]
    leaders: list[RunRecord]
    """The best run of each set of images."""
    sentence: str
    details: str
    fields: list[Field]
    """Accuracy, what differs in the configs, then other measurements."""
    equal: str
    """The measurements in which all runs are equal, as a sentence; may be empty."""

    @property
    def side_by_side(self) -> bool:
        """Whether the runs are the table's columns rather than its rows."""
        runs = len(self.records)
        return runs <= SIDE_BY_SIDE or (runs <= MOST_COLUMNS and len(self.fields) > 2 * runs)


def compare(records: Sequence[RunRecord]) -> Comparison:
    """Compare runs, at least two. Accuracies are compared only on images of the same set."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(_image_set(record), []).append(record)
    ranked = [sorted(group, key=_rank) for group in groups.values()]
    ordered = [record for group in ranked for record in group]
    names = short_names([record.folder for record in ordered])
    sentence, details = _several_sets(ranked, names) if len(ranked) > 1 else _one_set(ordered, names)
    leaders = [group[0] for group in ranked]
    differing = differences([record.conf for record in ordered])
    during, after = during_and_after(has_dropout=any(record.has_dropout for record in ordered))
    measured = [
        _field(name.format(during=during, after=after), ordered, text, best) for name, text, best in _MEASUREMENTS
    ]
    varying = [field for field in measured if len({cell.text for cell in field.cells}) > 1]
    same = [f"{field.name} {field.cells[0].text}" for field in measured if field not in varying and field.cells[0].text]
    return Comparison(
        records=ordered,
        names=names,
        leaders=leaders,
        sentence=sentence,
        details=details,
        fields=[_accuracy(ordered, leaders), _field("result", ordered, _reached, None), *_keys(differing), *varying],
        equal=f"Equal in all runs: {', '.join(same)}." if same else "",
    )


def _image_set(record: RunRecord) -> tuple[str, str]:
    return record.conf.data.name, record.evaluated_on


def _rank(record: RunRecord) -> tuple[bool, float, int]:
    """Complete runs first, then by accuracy; of equal ones the smaller first."""
    return record.result is None, -record.value, record.design.summary.parameters


def _one_set(ordered: list[RunRecord], names: list[str]) -> tuple[str, str]:
    best, second = ordered[0], ordered[1]
    sizes = {record.images for record in ordered}
    fewest = f"{'at least ' if len(sizes) > 1 else ''}{counted(min(sizes), f'{best.evaluated_on} image')}"
    measured = f"{fewest} of {dataset_title(best.conf.data.name)}"
    seeds = _seeds(ordered)
    if seeds:
        return seeds, f"The runs differ only in their seeds; each was measured on {measured}."
    gap = best.value - second.value
    if second.result is None and best.result is not None:
        sentence = f"{names[0]} is best with {percent(best.value)}: no other run is complete."
    elif gap == 0:
        tied = sum(record.value == best.value and record.result is not None for record in ordered)
        fewer = best.design.summary.parameters < second.design.summary.parameters
        smallest = f"; {names[0]} is the smallest" if fewer else ""
        sentence = f"{max(tied, 2)} runs are equal with {percent(best.value)}{smallest}."
    else:
        how = "within noise" if pair_noise(best, second).covers(gap) else "more than noise"
        sentence = f"{names[0]} is best with {percent(best.value)}, {points(gap)} above {names[1]}: {how}."
    values = [record.value for record in ordered]
    spread = max(values) - min(values)
    worst = min(ordered, key=lambda record: record.value)
    most = max(ordered, key=lambda record: record.value)
    chance = pair_noise(most, worst, fewest=min(sizes), chances=math.comb(len(values), 2))
    any_two = "two measurements" if len(values) == 2 else f"two of {len(values)} measurements"
    compared = "no more than" if chance.covers(spread) else "more than"
    details = (
        f"Best and worst differ by {points(spread)}, {compared} the {points(chance.size)} by which {any_two} on "
        f"{measured} may differ by chance (95 %, {chance.how}). Different seeds add to that."
        if spread
        else f"All were measured on {measured}."
    )
    return sentence, f"{details} {_targets(ordered)}"


def _several_sets(ranked: list[list[RunRecord]], names: list[str]) -> tuple[str, str]:
    count = sum(map(len, ranked))
    sentence = f"{count} runs on {len(ranked)} sets of images: accuracies compare only within a set."
    bests, at = [], 0
    for group in ranked:
        best = group[0]
        on = f"{dataset_title(best.conf.data.name)} {best.evaluated_on}"
        how = f"is the best of {len(group)} runs with" if len(group) > 1 else "is the only run and has"
        bests.append(f"On {on} images {names[at]} {how} {percent(best.value)}.")
        at += len(group)
    return sentence, f"{' '.join(bests)} {_targets(list(itertools.chain(*ranked)))}"


def _targets(records: Sequence[RunRecord]) -> str:
    """Return how many runs met their target."""
    met = sum(record.result is not None and record.value >= record.conf.target for record in records)
    targets = sorted({record.conf.target for record in records})
    named = f"the target of {percent(targets[0])}" if len(targets) == 1 else "their own targets"
    return f"{met} of {len(records)} met {named}."


def _seeds(records: Sequence[RunRecord]) -> str:
    """Return the mean over seeds, as a sentence; empty if the runs differ in more than their seeds."""
    if set(differences([record.conf for record in records])) != {"seed"} or any(r.result is None for r in records):
        return ""
    values = [record.value for record in records]
    average = mean(values)  # exact: six times 0.99 is 0.99
    target = records[0].conf.target
    gap = average - target
    reached = f"target {'met' if gap >= 0 else 'missed'}{f' by {points(abs(gap))}' if gap else ''} on average"
    spread = f"from {percent(min(values))} to {percent(max(values))}"
    return f"Mean of {len(values)} seeds {percent(average)}, {spread}: {reached}."


def _accuracy(ordered: Sequence[RunRecord], leaders: Sequence[RunRecord]) -> Field:
    best = {_image_set(leader): leader.value for leader in leaders}
    cells = [
        Cell(
            text=f"{percent(record.value)} {plus_minus(noise(record))}",
            is_best=record.value == best[_image_set(record)],
        )
        for record in ordered
    ]
    return Field(name="accuracy", cells=cells)


def _reached(record: RunRecord) -> str:
    """Return whether a run met its target, or how it ended."""
    if record.result is None:
        return f"{LEADS[ending(record)].lower()} after {len(record.epochs)} of {record.conf.training.epochs}"
    gap = record.value - record.conf.target
    return "met" if gap >= 0 else points(-gap).replace("points", "short")


def _keys(differing: dict[str, list[object]]) -> list[Field]:
    return [
        Field(name=key, cells=[Cell(text=format_value(value)) for value in values], is_key=True)
        for key, values in differing.items()
    ]


def _field(
    name: str,
    records: Sequence[RunRecord],
    text: Callable[[RunRecord], str],
    best: Callable[[RunRecord], float] | None,
) -> Field:
    scores = [best(record) if best is not None else 0.0 for record in records]
    is_mixed = len({_image_set(record) for record in records}) > 1 and name not in {"parameters", "MACs"}
    # If most runs are best, a mark says nothing.
    marks = best is not None and 2 * scores.count(max(scores)) <= len(scores) and not is_mixed
    cells = [
        Cell(text=text(record), is_best=marks and score == max(scores))
        for record, score in zip(records, scores, strict=True)
    ]
    return Field(name=name, cells=cells)


_MEASUREMENTS: Final[list[tuple[str, Callable[[RunRecord], str], Callable[[RunRecord], float] | None]]] = [
    ("best epoch", lambda r: percent(r.best.val_accuracy), lambda r: r.best.val_accuracy),
    ("loss", lambda r: f"{r.epochs[-1].val_loss:.4f}", lambda r: -r.epochs[-1].val_loss),
    (
        "training accuracy, {after}",
        lambda r: "" if r.result is None else percent(r.result.train_accuracy_eval),
        None,
    ),
    ("training accuracy, {during}", lambda r: percent(r.epochs[-1].train_accuracy), None),
    ("parameters", lambda r: f"{r.design.summary.parameters:,}", lambda r: -r.design.summary.parameters),
    ("MACs", lambda r: f"{r.design.summary.macs:,}", lambda r: -r.design.summary.macs),
    ("epochs", lambda r: epochs_trained(r).removesuffix("s").removesuffix(" epoch"), None),
    ("time", lambda r: duration(seconds(r)), None),
    ("machine", lambda r: "" if r.result is None else f"{r.result.device} {r.result.precision}", None),
    ("images", lambda r: f"{r.images:,}", None),
]
"""Name, text and, where one run can be best, a number that is highest for the best; see `_field`."""
