"""hydra/sweeper=study in Hydra applications that know nothing of networks: tests/applications, run as a user would."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from optuna.trial import TrialState

from sweeper.study.summary import state_of

from .application import STUDY, Application, text_of
from .processes import CHECKOUT, environment
from .studies import only_study, trials_of

TRAIN = [
    *STUDY,
    "hydra.sweeper.sampler.seed=1",
    "hydra/sweeper/pruner=median",
    "lr=tag(log,interval(1e-4,1))",
    "depth=range(1,7)",
]
OF_NETWORKS = re.compile(
    r"network|epoch|accura|parameters|image|budget|macs|sweeper report|python -m sweeper", re.IGNORECASE
)
"""Words that no other application should read. The page's script has some, for pages of networks."""


def test_a_search_prunes_rejects_resumes_and_speaks_of_no_networks(application: Application, tmp_path: Path) -> None:
    """Reported values are pruned, a constraint rejects, the same command goes on to more trials, the page shows them."""
    done = application("train", *TRAIN, "hydra.sweeper.n_trials=12")
    assert (done.returncode, done.stderr) == (0, "")
    folder = only_study(tmp_path)
    trials = trials_of(folder)
    states = [state_of(trial) for trial in trials]
    assert {"complete", "pruned", "rejected"} <= set(states)
    assert states.count("complete") + states.count("pruned") == 12
    assert all(
        (trial.params["depth"] > 4) == (state == "rejected") for trial, state in zip(trials, states, strict=True)
    )
    assert "rejected: constraint fits must be at most 0, but is " in done.stdout
    assert "pruned at step " in done.stdout
    assert all(list(t.intermediate_values) == [1, 2, 3] for t in trials if t.state is TrialState.COMPLETE)

    more = application("train", *TRAIN, "hydra.sweeper.n_trials=14")
    assert more.returncode == 0
    assert "14 trials, 12 of them done before" in more.stdout
    assert {state_of(trial) for trial in trials_of(folder)[len(trials) :]} <= {"complete", "pruned", "rejected"}

    best = min((t for t in trials_of(folder) if t.state is TrialState.COMPLETE), key=lambda t: t.values[0])
    results = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert results == {"name": "optuna", "best_params": best.params, "best_value": best.value}
    assert (folder / "best" / "weights.txt").read_text() == str(best.value)
    assert yaml.safe_load((folder / "best.yaml").read_text())["depth"] == best.params["depth"]
    page = text_of(folder / "report.html")
    assert "Value by step" in page
    for text in (done.stdout, more.stdout, page):
        assert not OF_NETWORKS.findall(text)


@pytest.mark.slow
def test_each_printed_command_can_be_pasted(application: Application) -> None:
    """One goes on with the same study, one runs its best trial again."""
    done = application("sphere", *STUDY, "hydra.sweeper.n_trials=3", "~z")
    printed = dict(re.findall(r"^(go on|run it again):\n(.*)$", done.stdout, re.MULTILINE))
    program, script, *words = shlex.split(printed["go on"])
    assert (program, script) == ("python", "sphere.py")
    assert "6 trials, 3 of them done before" in application("sphere", *words).stdout
    assert application("sphere", *shlex.split(printed["run it again"])[2:]).returncode == 0


@pytest.mark.slow
def test_another_config_or_application_under_the_same_name_is_refused(application: Application) -> None:
    """A study holds one application with one config: a change is named, and nothing is trained."""
    assert application("sphere", *STUDY, "x=1,2").returncode == 0
    changed = application("sphere", *STUDY, "x=1,2", "z=7")
    assert changed.returncode == 1
    assert (
        "study sphere holds another search: fixed overrides are [] there and ['z=7'] here; z is 1 there"
        in changed.stderr
    )
    config = Path("sphere.yaml")
    config.write_text(config.read_text().replace("z: 1", "z: 2"))
    changed = application("sphere", *STUDY, "x=1,2")
    assert changed.stderr.startswith("study sphere holds another search: z is 1 there and 2 here: ")
    assert changed.stderr.count("\n") == 1
    other = application(
        "binh_and_korn", *STUDY, "hydra.sweeper.study_name=sphere", "x=1,2", "hydra.sweeper.params=null"
    )
    assert "the application is sphere there and binh_and_korn here" in other.stderr


BAD = {
    "hydra.sweeper.widths=true": "hydra.sweeper.widths is for sweeper's own networks alone: leave it out",
    "hydra.sweeper.direction=up": "hydra.sweeper.direction must be maximize or minimize, or a list with one for each",
    "hydra.sweeper.direction=[minimize]": "hydra.sweeper.direction must be maximize or minimize, or a list with one for",
    "hydra/sweeper/sampler=grid": "for every point once choose brute_force",
    "hydra/sweeper/sampler=front": "hydra/sweeper/sampler=front needs two objectives",
    "+hydra.sweeper.n_trial=3": "hydra.sweeper has no option 'n_trial' (did you mean n_trials?)",
}


@pytest.mark.parametrize("wrong", BAD)
def test_what_cannot_be_searched_is_one_line(application: Application, tmp_path: Path, wrong: str) -> None:
    """The rule, the value, what to do; nothing is left behind."""
    done = application("sphere", *STUDY, wrong)
    assert done.returncode == 1
    assert BAD[wrong] in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_a_value_that_every_job_lacks_ends_the_search_at_once(application: Application, tmp_path: Path) -> None:
    """One trial fails, once; the last line names the key; the command that would fail again is not printed."""
    with (tmp_path / "train.yaml").open("a") as config:
        config.write("source: ???\n")
    code = (tmp_path / "train.py").read_text()
    (tmp_path / "train.py").write_text(re.sub(r"(\ndef main\(.*\n)", r"\1    cfg.source  # noqa: B018\n", code))
    done = application("train", *STUDY, "lr=0.1,0.2,0.3")
    assert (done.returncode, done.stdout.count("trial 0 failed"), "trial 1" in done.stdout) == (1, 1, False)
    assert done.stderr == "every job needs a value of source, but its config has none (???): add source=VALUE\n"
    assert "go on" not in done.stdout


def test_a_dry_run_lists_jobs_or_the_space(application: Application, tmp_path: Path) -> None:
    """Nothing runs, nothing is written."""
    grid = application("train", "-m", "hydra/sweeper=study", "depth=4,5", "hydra.sweeper.dry_run=true")
    assert grid.stdout.splitlines() == ["#0 : depth=4", "#1 : depth=5 : constraint fits must be at most 0, but is 1"]
    space = application("train", *TRAIN, "hydra.sweeper.dry_run=true")
    assert space.stdout.splitlines() == [
        "lr : 0.0001 to 1, logarithmic",
        "depth : whole numbers, 1 to 6",
        "trials : 20",
    ]
    assert not (tmp_path / "outputs").exists()


FAILING = """
import hydra, sweeper

@sweeper.constraint
def fails(cfg):
    raise KeyError("two\\nlines")

@hydra.main(config_path=None, config_name=None)
def main(cfg):
    sweeper.report(cfg.value, cfg.step)
    return 1.0

main()
"""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["+value=a", "+step=1,2"], "sweeper.report needs a number, but got 'a'"),
        (["+value=1", "+step=0.5,1.5"], "sweeper.report needs a step from 0 on, a whole number, but got 0.5"),
    ],
)
def test_a_wrong_report_fails_its_trial_in_one_line(application: Application, given: list[str], says: str) -> None:
    """The rule and the value; outside of a study any call is ignored."""
    Path("wrong.py").write_text(re.sub(r"@sweeper.constraint\n.*\n.*\n", "", FAILING))
    done = application("wrong", *STUDY, *given)
    assert f"trial 0 failed, its point is tried again: {says}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert application("wrong", "+value=a", "+step=0.5").returncode == 0


def test_a_constraint_that_fails_ends_the_search_in_one_line(application: Application) -> None:
    """It names the constraint and the error, and no job starts."""
    Path("wrong.py").write_text(FAILING)
    done = application("wrong", *STUDY, "+value=1,2", "+step=1")
    assert done.returncode == 1
    assert done.stderr == "constraint fails must return a number, but failed with KeyError: 'two\\nlines': correct it\n"
    assert "trial 0 done" not in done.stdout


@pytest.mark.slow
def test_several_values_make_a_front(application: Application, tmp_path: Path) -> None:
    """Each trial has both values, the results hold the front, a job with one value alone fails for good."""
    done = application("binh_and_korn", *STUDY, "hydra.sweeper.n_trials=8")
    assert done.returncode == 0
    folder = only_study(tmp_path)
    solutions = yaml.safe_load((folder / "optimization_results.yaml").read_text())["solutions"]
    assert f"A front of {len(solutions)} trials in 2 values: " in done.stdout
    for one in solutions:
        assert not any(
            all(a <= b for a, b in zip(other["values"], one["values"], strict=True))
            and other["values"] != one["values"]
            for other in solutions
        )
    short = application("binh_and_korn", *STUDY, "count=1", "hydra.sweeper.study_name=short", "x=1,2")
    assert "trial 0 failed: a job must return 2 numbers, but returned 1" in short.stdout
    pruned = application("binh_and_korn", *STUDY, "hydra/sweeper/pruner=median", "hydra.sweeper.study_name=pruned")
    assert "Optuna's pruners take one value" in pruned.stderr


@pytest.mark.slow
def test_the_documented_application_runs(application: Application, tmp_path: Path) -> None:
    """The file and the config that sweeper/study/README.md shows, with the commands below them."""
    page = (CHECKOUT / "sweeper" / "study" / "README.md").read_text()
    for name, text in re.findall(
        r"^```(?:py|yaml)\n# (train\.(?:py|yaml))\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    ):
        (tmp_path / name).write_text(text)
    commands = re.findall(r"^python train.py (.*)$", page, re.MULTILINE)
    assert len(commands) >= 2
    for words in commands:
        done = application("train", *shlex.split(words), "hydra.sweeper.n_jobs=1")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_workers_do_not_import_the_script_again(tmp_path: Path) -> None:
    """A script without a guard runs its jobs in two workers, which prune and leave their files in the study's folder."""
    shutil.copytree(CHECKOUT / "tests" / "applications", tmp_path, dirs_exist_ok=True)
    arguments = [*TRAIN, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=12"]
    done = subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    folder = only_study(tmp_path)
    completed = [trial.number for trial in trials_of(folder) if trial.state is TrialState.COMPLETE]
    assert all((folder / str(number) / "weights.txt").exists() for number in completed)
    assert "pruned at step" in done.stdout
