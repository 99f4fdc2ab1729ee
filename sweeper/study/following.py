"""Decides which commands stand below a study's headline, in which order, and what of its files they do not repeat."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sweeper.search.repeating import repeatable
from sweeper.study import commands
from sweeper.study.attributes import whole
from sweeper.study.commands import Command
from sweeper.study.facts import StudyFacts


@dataclass(frozen=True, kw_only=True)
class Following:
    """What follows a study."""

    commands: tuple[Command, ...] = ()
    """In the order in which they are shown; possibly none."""
    left_out: tuple[str, ...] = ()
    """The overrides of the study's files that they do not repeat: these may be a stranger's."""


def follow(
    facts: StudyFacts,
    folder: Path | None,
    sweep: Any,
    *,
    program: Sequence[str] | None = None,
    arguments: Sequence[str] | None = None,
) -> Following:
    """Return the commands: confirm or more seeds, go on or raise the budget, run it again.

    A search that ends passes its `program` and its `arguments` after ``-m``, as they were typed; otherwise both come from
    its files, `sweep` and those of its trials.
    """
    if program is None:
        if not facts.is_accuracy:  # another Hydra application has another program
            return Following()
        program = commands.saved_program(sweep, folder)
    repeating = _Repeating(folder, is_typed=arguments is not None)
    if arguments is None:
        saved = commands.repeated_arguments(sweep, folder)
        arguments = saved.kept
        repeating.left_out += saved.left_out
    best = facts.summary.best
    found = [] if best is None or facts.is_running else [_fresh_seeds(facts, best, folder, program, repeating)]
    found.append(_going_on(facts, program, arguments) if program and arguments else None)
    if best is not None and facts.is_accuracy:
        found.append(commands.reproduce(best, folder))
    elif best is not None and program is not None:
        settings = [line for line in arguments if line.startswith("hydra.job.")]  # a job may depend on them
        overrides = commands.trial_overrides(best, None, [*facts.fixed, *settings])
        found.append(commands.run_again(program, repeating.repeated(overrides)))
    shown = tuple(command for command in found if command is not None)
    return Following(commands=shown, left_out=tuple(dict.fromkeys(repeating.left_out)) if shown else ())


class _Repeating:
    """Repeats overrides, and collects those that it leaves out: none of a search that was typed to this process."""

    def __init__(self, folder: Path | None, *, is_typed: bool) -> None:
        self.left_out: list[str] = []
        self._folder, self._is_typed = folder, is_typed

    def repeated(self, overrides: Sequence[str]) -> Sequence[str]:
        if self._is_typed:
            return overrides
        found = repeatable(overrides, self._folder)
        self.left_out += found.left_out
        return found.kept


def _going_on(facts: StudyFacts, program: Sequence[str], arguments: Sequence[str]) -> Command | None:
    """Return the command that goes on with the search, or searches within a higher budget."""
    if facts.nothing_feasible:
        return commands.raise_budget(program, arguments, facts.smallest) if facts.smallest else None
    if facts.too_many_failed:
        return None
    if not facts.is_done:
        return commands.go_on(program, arguments, n_trials=None, past_target=facts.is_at_target)
    if facts.is_grid or facts.is_exhausted or facts.total is None:
        return None
    total = 2 * max(facts.total, facts.summary.counted)  # a resumed search may ask for fewer than it has
    return commands.go_on(program, arguments, n_trials=total, past_target=facts.is_at_target)


def _fresh_seeds(
    facts: StudyFacts, best: FrozenTrial, folder: Path | None, program: Sequence[str] | None, repeating: _Repeating
) -> Command | None:
    """Return the command that shows what seeds do to the best trial: on the test set only once the search has ended."""
    has_ended = facts.is_done or facts.is_at_target
    # confirm needs the trials' configs, and refuses what was chosen on the test set.
    if folder is not None and facts.base.get("data.validation") == "split" and has_ended:
        return commands.confirm(best, folder, front=facts.has_front and not facts.goal.smallest)
    seed = whole(facts.base.get("seed"))
    if program is None or seed is None or "seed" in facts.searched or facts.has_front:
        return None
    overrides = repeating.repeated(commands.trial_overrides(best, folder, facts.fixed))
    return commands.more_seeds(program, overrides, seed)
