"""hydra-optuna-sweeper's own tests (1.4.0rc3), held by hydra/sweeper=study; where it differs, the reason is at hand.

Left out, because they test that package's own parts: its discovery, the defaults of its config classes, the constructors of its NSGA
samplers, its GridSampler's choices, its removed MOTPE. Refused with one line: `custom_search_space`, since a config names no code, and
`sampler=grid`, for which `brute_force` stands.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sweeper.errors import StudyError
from sweeper.search.space import parse

from .application import STUDY, Application
from .studies import trials_of

EQUAL = {
    "choice(1,2)": CategoricalDistribution([1, 2]),
    "choice(true, false)": CategoricalDistribution([True, False]),
    "choice('hello', 'world')": CategoricalDistribution(["hello", "world"]),
    "shuffle(range(1,3))": CategoricalDistribution((1, 2)),
    "range(1,3)": IntDistribution(1, 2),
    "range(0,8,3)": IntDistribution(0, 6, step=3),
    "range(3,0,-1)": IntDistribution(1, 3),
    "range(2,3,4)": IntDistribution(2, 2, step=4),
    "interval(1, 5)": FloatDistribution(1, 5),
    "int(interval(1, 5))": IntDistribution(1, 5),
    "tag(log, interval(1, 5))": FloatDistribution(1, 5, log=True),
    "tag(log, int(interval(1, 5)))": IntDistribution(1, 5, log=True),
}
"""Its expected distributions that are ours too."""
LISTED: dict[str, list[float]] = {
    "range(0.5, 5.5, step=1)": [0.5, 1.5, 2.5, 3.5, 4.5],
    "range(0,1,0.5)": [0.0, 0.5],
    "range(0,1,0.3)": [0.0, 0.3, 0.6, 0.9],
    "range(1,0,-0.3)": [1.0, 0.7, 0.4, 0.1],
    "int(range(0,5,1.5))": [0, 1, 3, 4],
    "int(range(0,1,0.25))": [0],
    "float(range(1,3))": [1.0, 2.0],
}
"""Its float ranges with a step are lists here: a binary number may miss the step. A value listed twice counts once."""


def _distribution(value: str) -> BaseDistribution:
    return parse([f"key={value}"], {}, OverridesParser.create()).distributions["key"]


@pytest.mark.parametrize("value", EQUAL)
def test_distributions_are_the_same(value: str) -> None:
    """An override becomes the distribution that it is there."""
    found, expected = _distribution(value), EQUAL[value]
    if isinstance(found, CategoricalDistribution) and isinstance(expected, CategoricalDistribution):
        assert set(found.choices) == set(expected.choices)
    else:
        assert found == expected


@pytest.mark.parametrize("value", LISTED)
def test_ranges_of_fractions_are_lists(value: str) -> None:
    """They have the values that they have there."""
    found = _distribution(value)
    assert isinstance(found, CategoricalDistribution)
    assert sorted(each for each in found.choices if isinstance(each, int | float)) == sorted(LISTED[value])


@pytest.mark.parametrize("value", ["range(0,1,0)", "range(0,0)", "range(3,1)", "range(0,1,-0.5)"])
def test_empty_ranges_are_refused(value: str) -> None:
    """As there."""
    with pytest.raises((StudyError, ValueError)):
        _distribution(value)


@pytest.mark.slow
@pytest.mark.parametrize("is_typed", [True, False])
def test_the_sphere_example(application: Application, tmp_path: Path, *, is_typed: bool) -> None:
    """Its command, its config, its results file and its bound on the best value of 20 trials (Hydra's #1746)."""
    typed = ["x=choice(0, 1, 2)", "y=0"] if is_typed else []
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/test.db"
    options = ["hydra.sweep.dir=sweep", "hydra.job.chdir=True", "hydra.sweeper.n_trials=20", storage]
    done = application(
        "sphere", *STUDY, *options, "hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=123", "~z", *typed
    )
    assert done.returncode == 0, done.stderr
    results = yaml.safe_load(Path("sweep/optimization_results.yaml").read_text())
    assert results["name"] == "optuna"
    assert set(results["best_params"]) == ({"x"} if is_typed else {"x", "y"})
    assert results["best_value"] <= 2.27


@pytest.mark.slow
def test_every_point_once(application: Application) -> None:
    """Its grid example, with the sampler that stands for the grid's: it ends after every point, if n_trials allows it."""
    points = ["x=choice(-1,1)", "y=choice(-1,0)", "+w=choice(foo,bar)", "hydra.sweeper.params=null"]
    for n_trials, best in ((20, 1), (1, 2)):
        name = f"hydra.sweeper.study_name=grid{n_trials}"
        brute = [*STUDY, "hydra/sweeper/sampler=brute_force", f"hydra.sweeper.n_trials={n_trials}", name]
        done = application("sphere", *brute, "x=int(interval(-1,1))", *points[1:])
        assert done.returncode == 0, done.stderr
        folder = Path("outputs/studies") / f"grid{n_trials}"
        assert yaml.safe_load((folder / "optimization_results.yaml").read_text())["best_value"] <= best
        assert len(trials_of(folder)) == min(n_trials, 12)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "nsgaii", "nsgaiii"])
def test_the_multi_objective_example(application: Application, sampler: str) -> None:
    """Its command; no solution dominates another."""
    done = application("binh_and_korn", *STUDY, f"hydra/sweeper/sampler={sampler}", "x=range(0, 5)", "y=range(0, 3)")
    assert done.returncode == 0, done.stderr
    results = yaml.safe_load(Path("outputs/studies/multi-objective/optimization_results.yaml").read_text())
    values = [solution["values"] for solution in results["solutions"]]
    assert not any(a != b and a[0] <= b[0] and a[1] <= b[1] for a in values for b in values)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_the_failure_rate(application: Application, rate: float) -> None:
    """Failed jobs end the study if they are more than the rate allows; the rate is of all trials here, not of a batch."""
    failing = ["error=true", f"hydra.sweeper.max_failure_rate={rate}", "hydra/sweeper/sampler=random"]
    done = application("sphere", *STUDY, *failing, "hydra.sweeper.n_trials=6")
    assert (done.returncode != 0) == (rate < 1)
    assert "RuntimeError: cfg.error is True" in done.stdout


RETURNS: dict[str, Any] = {"minimize": math.nan, "[minimize,minimize]": [1.0]}


@pytest.mark.slow
@pytest.mark.parametrize("direction", RETURNS)
def test_a_wrong_result_fails_its_trial_alone(application: Application, direction: str) -> None:
    """NaN, and another number of values: FAIL, and the next trials are complete."""
    first, then = RETURNS[direction], [1.0, 1.0] if direction[0] == "[" else 1.0
    Path("wrong.py").write_text(
        "import hydra, math\nnan, calls = math.nan, []\n"
        "@hydra.main(config_path=None, config_name=None)\ndef main(cfg):\n"
        f"    calls.append(cfg)\n    return {first} if len(calls) == 1 else {then}\nmain()\n"
    )
    options = [f"hydra.sweeper.direction={direction}", "hydra.sweeper.n_trials=3", "hydra.sweeper.max_retry=0"]
    assert application("wrong", *STUDY, *options, "+x=interval(0,1)", "hydra.sweeper.study_name=wrong").returncode == 0
    states = [trial.state for trial in trials_of(Path("outputs/studies/wrong"))]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_code_in_a_config_is_refused(application: Application) -> None:
    """`custom_search_space` is no option, and `sampler=grid` names the sampler that stands for it."""
    custom = application("sphere", *STUDY, "+hydra.sweeper.custom_search_space=os.system")
    assert "hydra.sweeper has no option 'custom_search_space'" in custom.stderr
    assert "choose brute_force" in application("sphere", *STUDY, "hydra/sweeper/sampler=grid").stderr
