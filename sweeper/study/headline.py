"""Decides how a study's result reads: one sentence, the details behind it, and the commands that follow."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.network.budget import COSTS
from sweeper.run.pairing import read_mistakes, runs_noise
from sweeper.search.repeating import left_out_sentence
from sweeper.study.attributes import FAILED, PARAMETERS, REJECTED, whole
from sweeper.study.commands import Command
from sweeper.study.facts import StudyFacts
from sweeper.study.folder import trial_folder
from sweeper.study.following import follow
from sweeper.study.front import non_dominated
from sweeper.study.front_sentence import front_details, front_sentence
from sweeper.study.goal import Goal
from sweeper.study.summary import state_of
from sweeper.terminal.formats import counted, duration, percent, points

NAMED: Final = 8
"""A sentence names the trials of a front of at most so many."""

Tone = Literal["met", "missed", "infeasible", "interrupted", "running", "failed", "neutral"]
"""What the sentence says: ``infeasible`` if no proposal was feasible, ``neutral`` for a result without a target."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A study's result, with which its page, its last lines in a terminal and its note in the dashboard begin."""

    sentence: str
    """For example ``Target missed by 1.40 points.``"""
    details: str
    """Best trial, gain, noise, counts, time and data: one or more sentences."""
    commands: tuple[Command, ...]
    """In the order in which they are shown; possibly none."""
    tone: Tone
    best: FrozenTrial | None
    """The best completed trial, see `Goal.order`."""
    target: float | None
    """The accuracy to reach; None if the study has none."""
    metric: str
    """What the trials' values are: ``validation accuracy``, ``test accuracy``, or ``value`` if that is not known."""


def study_headline(
    trials: Sequence[FrozenTrial],
    goal: Goal | StudyDirection,
    *,
    folder: Path | None,
    search: Any,
    sweep: Any,
    program: Sequence[str] | None = None,
    arguments: Sequence[str] | None = None,
    lost: Collection[int] | None = None,
) -> Headline:
    """Return the headline of a study's trials, all of them in order of their numbers.

    `folder` is the study's folder, `search` and `sweep` are the contents of its search.yaml and multirun.yaml, None if
    missing; `lost` as for `StudyFacts`. A search that ends also passes its `program` and its `arguments` after ``-m``.
    Without `program`, another Hydra application gets no commands.
    """
    facts = StudyFacts(trials, goal, search=search, sweep=sweep, lost=lost)
    sentence, tone = _sentence(facts)
    following = follow(facts, folder, sweep, program=program, arguments=arguments)
    said = [*_details(facts, tone, folder), f"{', '.join(_facts(facts))}.", left_out_sentence(following.left_out)]
    return Headline(
        sentence=sentence,
        details=" ".join(part for part in said if part),
        commands=following.commands,
        tone=tone,
        best=facts.summary.best,
        target=facts.target,
        metric=facts.metric,
    )


def _sentence(facts: StudyFacts) -> tuple[str, Tone]:
    if facts.summary.best is None:
        return _sentence_without_best(facts)
    if facts.has_front:
        return _sentence_of_front(facts)
    return _sentence_of_values(facts) if facts.goal.others else _sentence_of_best(facts, facts.summary.best)


def _sentence_of_best(facts: StudyFacts, best: FrozenTrial) -> tuple[str, Tone]:
    early = facts.is_running or not facts.is_done
    if facts.target is None:
        value = _value(facts, best.values[0])
        if early:
            return f"{_stopped(facts)}, best {value} so far.", _early(facts)
        return f"Best {value} in trial {best.number}.", "neutral"
    reached = facts.mean if facts.is_over_seeds else best.values[0]
    average = f" on average over {len(facts.completed)} seeds" if facts.is_over_seeds else ""
    by = points(abs(reached - facts.target))
    if reached >= facts.target:
        return f"Target met{'' if reached == facts.target else f' by {by}'}{average}.", "met"
    if early:
        return f"{_stopped(facts)}, {by} short of the target{average}.", _early(facts)
    return f"Target missed by {by}{average}.", "missed"


def _sentence_of_front(facts: StudyFacts) -> tuple[str, Tone]:
    early = facts.is_running or not facts.is_done
    is_met = facts.summary.best is not None and facts.goal.is_reached(facts.summary.best)
    missed: Tone = "missed" if facts.goal.smallest else "neutral"
    tone: Tone = "met" if is_met else _early(facts) if early else missed
    return front_sentence(facts, _stopped(facts) if early else ""), tone


def _sentence_of_values(facts: StudyFacts) -> tuple[str, Tone]:
    front = non_dominated(facts.trials, facts.goal.directions)
    sentence = f"A front of {counted(len(front), 'trial')} in {len(facts.goal.directions)} values"
    if facts.is_running or not facts.is_done:
        return f"{_stopped(facts)}. {sentence} so far.", _early(facts)
    named = ", ".join(str(trial.number) for trial in front)
    return f"{sentence}: {named}." if len(front) <= NAMED else f"{sentence}.", "neutral"


def _sentence_without_best(facts: StudyFacts) -> tuple[str, Tone]:
    summary = facts.summary
    if facts.nothing_feasible and not facts.is_running:
        return _infeasible(facts), "infeasible"
    if summary.failed and summary.failed == summary.counted and not facts.is_running:
        return "The only trial failed." if summary.failed == 1 else f"All {summary.failed} trials failed.", "failed"
    if facts.is_running or not facts.is_done or not facts.trials:
        return f"{_stopped(facts)}, none completed{' yet' if facts.is_running else ''}.", _early(facts)
    return "No trial was completed.", "missed"


def _infeasible(facts: StudyFacts) -> str:
    count = facts.summary.rejected
    of = f"the smallest of {count:,} proposals" if count > 1 else "the only proposal"
    if not facts.smallest:
        return f"Nothing feasible: {f'none of {count:,} proposals can' if count > 1 else f'{of} cannot'} be built."
    units: dict[str, str] = dict(COSTS)
    has = " and ".join(f"{amount:,} {units[cost]}" for cost, amount in facts.smallest.items())
    limits = " and ".join(f"budget.{cost} from {facts.base[f'budget.{cost}']:,}" for cost in facts.smallest)
    return f"Nothing feasible: {of} has {has}, so raise {limits}."


def _early(facts: StudyFacts) -> Tone:
    return "running" if facts.is_running else "interrupted"


def _stopped(facts: StudyFacts) -> str:
    counted = _counted(facts)
    if facts.is_running:
        return f"Running: {counted}"
    if facts.too_many_failed:
        return f"Too many trials failed: stopped at {counted}"
    return f"{'Too many proposals rejected: stopped' if facts.too_many_rejected else 'Interrupted'} at {counted}"


def _details(facts: StudyFacts, tone: Tone, folder: Path | None) -> list[str]:
    sentences = []
    if tone == "infeasible":
        first = next(trial for trial in facts.trials if REJECTED in trial.user_attrs)
        reason = f"Trial {first.number}: {_one_line(first.user_attrs[REJECTED])}."
        sentences.append("Or search narrower widths." if facts.smallest else reason)
    elif facts.is_over_seeds:
        values = [trial.values[0] for trial in facts.completed]
        between = f"from {_value(facts, min(values))} to {_value(facts, max(values))}"
        sentences.append(f"Mean {_value(facts, facts.mean)}, {between}{_parameters(facts.completed[0])}.")
    elif facts.has_front:
        sentences += front_details(facts)
    elif facts.goal.others and facts.summary.best is not None:
        best = facts.summary.best
        shown = ", ".join(_value(facts, value) for value in best.values)
        sentences.append(f"The best first value is in trial {best.number}: {shown}.")
    elif facts.summary.best is not None:
        clauses = _best(facts, facts.summary.best, folder)
        if tone == "neutral":  # the sentence names the best trial
            clauses = [clause[0].upper() + clause[1:] for clause in clauses[1:]]
        sentences += [f"{', '.join(clauses)}."] if clauses else []
    if facts.summary.failed:
        failed = next(trial for trial in facts.trials if state_of(trial) == "failed")
        sentences.append(f"Trial {failed.number} failed: {_one_line(failed.user_attrs.get(FAILED))}.")
    return sentences


def _best(facts: StudyFacts, best: FrozenTrial, folder: Path | None) -> list[str]:
    """Return the best trial, and its gain over the start: one or two clauses."""
    named = f"Best {_value(facts, best.values[0])} (trial {best.number}{_parameters(best)})"
    start = facts.start
    if start is None or len(facts.completed) == 1:
        return [named]
    nothing = "no other point is better" if facts.is_grid else "the search found nothing better"
    first = "the first point" if facts.is_grid and facts.is_start_first else "the first result"
    began = "where it began" if facts.is_start_first and not facts.is_grid else f"{first}, trial {start.number}"
    gain = best.values[0] - start.values[0]
    if start.number == best.number:
        return [named, f"{began.partition(',')[0]}: {nothing}"]
    if best.values[0] == start.values[0]:  # two infinite values have no difference
        costs = [whole(trial.user_attrs.get(PARAMETERS)) for trial in (best, start)]
        is_smaller = costs[0] is not None and costs[1] is not None and costs[0] < costs[1]
        return [named, f"equal to {began}: {nothing}{', only smaller' if is_smaller else ''}"]
    if not facts.is_accuracy:
        return [named, f"{gain:+.4g} from {began}"]
    return [named, f"{gain * 100:+.2f} over {began}{_noise(facts, best, start, folder)}"]


def _noise(facts: StudyFacts, best: FrozenTrial, start: FrozenTrial, folder: Path | None) -> str:
    """Return whether the best trial's gain is noise, as the end of a clause; empty if its images are not known."""
    if facts.images is None:
        return ""
    is_same = folder is not None and "data.split_seed" not in facts.searched
    known = [read_mistakes(trial_folder(folder, t).path) if folder and is_same else None for t in (best, start)]
    noise = runs_noise(
        (best.values[0], start.values[0]), (known[0], known[1]), facts.images, chances=len(facts.completed) - 1
    )
    how = "within" if noise.covers(best.values[0] - start.values[0]) else "more than"
    return f": {how} noise ({facts.images:,} images, {noise.how})"


def _facts(facts: StudyFacts) -> list[str]:
    """Return counts, time and data, one phrase each."""
    summary = facts.summary
    others = [f"{count} {name}" for count, name in ((summary.pruned, "pruned"), (summary.failed, "failed")) if count]
    phrases = [_counted(facts) + (f" ({', '.join(others)})" if others else "")]
    if facts.is_exhausted and facts.is_done:
        phrases.append("every point of the space tried")
    if summary.rejected:
        phrases.append(f"{summary.rejected:,} proposal{'s' if summary.rejected != 1 else ''} rejected")
    if facts.seconds >= 1:
        phrases.append(duration(facts.seconds))
    if facts.data is not None:
        phrases.append(facts.data.title.replace(",", "", 1) if ", " in facts.data.title else facts.data.title)
    if "seed" in facts.base and "seed" not in facts.searched:
        phrases.append(f"seed {facts.base['seed']}")
    return phrases


def _counted(facts: StudyFacts) -> str:
    count, total = facts.summary.counted, facts.total
    if total is None or count > total:  # other processes ran trials too, or a resumed search asks for fewer
        return f"{count} trial{'s' if count != 1 else ''}"
    return f"{count} of {total} trial{'s' if total != 1 else ''}"


def _value(facts: StudyFacts, value: float) -> str:
    return percent(value) if facts.is_accuracy else f"{value:.6g}"


def _parameters(trial: FrozenTrial) -> str:
    count = whole(trial.user_attrs.get(PARAMETERS))
    return "" if count is None else f", {count:,} parameters"


def _one_line(reason: Any) -> str:
    return " ".join(str(reason or "no reason was recorded").split()).rstrip(".")
