"""The commands below a study's headline: they go on, raise the budget, confirm, and run in a shell as they are."""

import shlex
from pathlib import Path

import yaml
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from sweeper.study.folder import CONFIRM
from sweeper.study.owner import identify_process

from .headlines import BASE, SEARCH, commands, headline, rejected, sweep, trial


def test_an_interrupted_search_says_where_it_stopped_and_goes_on_with_the_same_command() -> None:
    """Interrupted at how many of how many; the command is the same, without another total."""
    found = headline(
        trial(0, 0.97),
        trial(1, 0.95),
        trial(2, state=TrialState.WAITING),
        trial(3, state=TrialState.FAIL, requeued=True),
    )
    assert found.sentence == "Interrupted at 2 of 4 trials, 2.00 points short of the target."
    assert found.tone == "interrupted"
    assert commands(found)["go on"] == "python -m sweeper -m search=card model=compact"
    was_running = trial(0, state=TrialState.FAIL, requeued=True)
    queued = headline(was_running, rejected(1, 20000), trial(2, state=TrialState.WAITING))
    assert queued.sentence == "Interrupted at 0 of 4 trials, none completed."  # although all others were rejected
    assert headline(trial(0, state=TrialState.WAITING)).sentence == "Interrupted at 0 of 4 trials, none completed."


def test_going_on_past_the_target_does_not_end_at_it_again() -> None:
    """A search that met its target would end at the next trial that does; one that does not end there is just resumed."""
    same = "python -m sweeper -m search=card model=compact"
    assert commands(headline(trial(0, 0.99)))["go on"] == f"{same} hydra.sweeper.stop_at_target=false"
    twice = commands(headline(trial(0, 0.98), trial(1, 0.99), multirun=sweep(2, "hydra.sweeper.n_trials=2")))["go on"]
    assert twice == f"{same} hydra.sweeper.n_trials=4 hydra.sweeper.stop_at_target=false"
    more = headline(*(trial(number, 0.9) for number in range(3)), multirun=sweep(1))
    assert commands(more)["go on"].endswith(" hydra.sweeper.n_trials=6")  # twice what there is
    on = sweep()
    on["hydra"]["sweeper"]["stop_at_target"] = False
    assert commands(headline(trial(0, 0.99), multirun=on))["go on"] == same


def test_nothing_feasible_says_the_smallest_proposal_and_what_to_raise() -> None:
    """The sentence names the limit; the command raises it, as another study."""
    typed = ["hydra.sweeper.study_name=s", "budget.parameters=9999"]
    proposals = [rejected(number, 20000 + number) for number in range(100)]
    found = headline(*proposals, multirun=sweep(4, *typed))
    assert found.sentence == (
        "Nothing feasible: the smallest of 100 proposals has 20,000 parameters, so raise budget.parameters from 9,999."
    )
    assert found.tone == "infeasible"
    expected = "python -m sweeper -m search=card model=compact budget.parameters=20000"
    assert commands(found) == {"raise the budget": expected}
    assert headline(rejected(0, None)).sentence == "Nothing feasible: the only proposal cannot be built."


def test_a_limit_of_macs_is_the_one_to_raise() -> None:
    """Only the limits that the smallest proposal exceeds are named."""
    base = {**BASE, "budget": {"parameters": 9999, "macs": 1000}}
    found = headline(rejected(0, 9000, macs=1234), rejected(1, 9000, macs=5000), search={**SEARCH, "base": base})
    assert "the smallest of 2 proposals has 1,234 MACs, so raise budget.macs from 1,000." in found.sentence
    assert commands(found)["raise the budget"].endswith(" budget.macs=1300")


def test_another_application_has_values_without_percent_parameters_or_our_commands() -> None:
    """Any number may be minimized: no target, no percent, no noise; commands only of a known program."""
    trials = [trial(number, value, parameters=None) for number, value in enumerate((12.5, 3.25, 7.0, 8.0))]
    search = {"space": {"+x": {}}, "fixed": ["data=big"], "base": {}, "grid": False}
    found = headline(*trials, search=search, direction=StudyDirection.MINIMIZE)
    assert (found.sentence, found.tone) == ("Best 3.25 in trial 1.", "neutral")
    assert found.details == "-9.25 from where it began. 4 of 4 trials, 4 min."
    assert (found.commands, found.metric, found.target) == ((), "value", None)
    own = headline(*trials, search=search, direction=StudyDirection.MINIMIZE, program=["python", "app.py"])
    assert commands(own) == {
        "go on": "python app.py -m search=card model=compact hydra.sweeper.n_trials=8",
        "run it again": "python app.py data=big optimizer.lr=0.002",
    }


def test_a_search_that_ended_is_confirmed_next(tmp_path: Path) -> None:
    """Before its end the test set stays closed: more seeds on validation; a confirmation has its own commands."""
    study = tmp_path / "of mine"
    ended, reached, early = (
        commands(headline(*trials, folder=study))
        for trials in ([trial(n, 0.9) for n in range(4)], [trial(0, 0.99)], [trial(0, 0.9)])
    )
    assert list(ended) == ["confirm", "go on"]
    assert shlex.split(ended["confirm"]) == ["python", "-m", "sweeper", "confirm", str(study)]
    assert reached["confirm"] == ended["confirm"]
    assert "confirm" not in early
    assert early["more seeds"].startswith("python -m sweeper -m ")
    running = trial(1, state=TrialState.RUNNING, owner=identify_process())
    assert not {"confirm", "more seeds"} & set(commands(headline(trial(0, 0.99), running, folder=study)))
    seeds = {**SEARCH, "space": {"seed": {}}, "grid": True}
    assert "confirm" in commands(headline(trial(0, 0.99), trial(1, 0.9), search=seeds, folder=study))
    study.mkdir()
    (study / CONFIRM).write_text('{"configurations": [{"trial": 0}]}')
    assert list(commands(headline(trial(0, 0.99), folder=study))) == ["go on"]
    assert "confirm" in commands(
        headline(trial(0, 0.99), trial(1, 0.995), folder=study)
    )  # the best trial is another one
    (study / CONFIRM).write_text("{")
    assert "confirm" in commands(headline(trial(0, 0.99), folder=study))


def test_commands_run_in_a_shell_and_are_one_line_each(tmp_path: Path) -> None:
    """More seeds repeats the best trial's own overrides, going on asks for twice the trials, reproduce names best/."""
    study = tmp_path / "study of mine"
    for name in ("1", "best"):
        (study / name / ".hydra").mkdir(parents=True)
        (study / name / ".hydra" / "config.yaml").write_text("seed: 1\n")
        (study / name / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["model=gap", "search=card", "seed=1"]))
    multirun = sweep(2, "hydra.sweeper.n_trials=2", "hydra.sweeper.storage=postgresql://me:secret@host/db")
    tested = {**SEARCH, "base": {**BASE, "data": {"name": "mnist5k", "validation": "test"}}}  # which confirm refuses
    found = commands(headline(trial(0, 0.9), trial(1, 0.95), search=tested, multirun=multirun, folder=study))
    assert shlex.split(found["more seeds"]) == ["python", "-m", "sweeper", "-m", "model=gap", "seed=2,3,4,5"]
    storage, place = "hydra.sweeper.storage=${oc.env:STUDY_URL}", f"hydra.sweep.dir={study}"
    assert shlex.split(found["go on"])[-3:] == [storage, place, "hydra.sweeper.n_trials=4"]
    assert shlex.split(found["run it again"]) == ["python", "-m", "sweeper", "reproduce", str(study / "best")]
    (study / "best" / ".hydra" / "config.yaml").write_text("seed: 2\n")  # of an earlier best trial
    again = commands(headline(trial(0, 0.9), trial(1, 0.95), multirun=multirun, folder=study))["run it again"]
    assert shlex.split(again)[-1] == str(study / "1")


def test_integer_values_and_whole_widths_are_overrides() -> None:
    """Values of the best trial read as overrides, whatever their type."""
    made = create_trial(
        value=0.9,
        params={"model.groups.block1.channels.0": 8, "model.bias": True},
        distributions={
            "model.groups.block1.channels.0": IntDistribution(1, 9),
            "model.bias": trial(0, 0.1).distributions["optimizer.lr"],
        },
    )
    assert "model.groups.block1.channels.0=8 model.bias=true seed=2,3,4,5" in commands(headline(made))["more seeds"]
