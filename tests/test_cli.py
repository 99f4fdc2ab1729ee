"""The command line: `inspect`, Hydra's own flags, import time, tracebacks, the wheel."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest

from sweeper.cli.hydra_private import VERSION
from sweeper.config.composition import compose
from sweeper.design import analyze
from sweeper.run import experiment
from sweeper.version import __version__

from .processes import CHECKOUT, Sweeper, command, environment


def test_inspect_json_has_the_documented_keys(sweeper_process: Sweeper) -> None:
    """``inspect model=notebook --json`` prints 9,736 parameters, 13 layers, their receptive fields and the findings."""
    done = sweeper_process("inspect", "model=notebook", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert set(report) == {"parameters", "macs", "budget", "within_budget", "layers", "findings"}
    assert report["parameters"] == 9736
    assert report["budget"] == {"parameters": 9999, "macs": None}
    assert report["within_budget"] is True
    layer_keys = ["name", "kind", "output_shape", "parameters", "macs", "receptive_field", "jump"]
    assert [list(layer) for layer in report["layers"]] == [layer_keys] * 13
    assert [layer["receptive_field"] for layer in report["layers"]] == [3, 5, 7, 8, 8, 12, 16, 18, 18, 26, 34, 42, 42]
    assert report["layers"][0]["output_shape"] == [10, 28, 28]
    assert {finding["rule"] for finding in report["findings"]} == {"erased_signal", "bottleneck"}
    assert all(set(finding) == {"rule", "layers", "evidence", "message"} for finding in report["findings"])


def test_inspect_shows_table_budget_and_findings(sweeper_call: Callable[..., Any]) -> None:
    """Without --json, `inspect` prints a row per layer, the totals against the budget, and each finding."""
    done = sweeper_call("inspect", "model=notebook")
    assert done.returncode == 0
    for facts in analyze(compose(["model=notebook"])).summary.layers:
        assert facts.name in done.stdout
    assert "9,736" in done.stdout
    assert "97 % of 9,999" in done.stdout
    assert "81.0 %" in done.stdout


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_inspect_over_budget_shows_it_and_exits_1(sweeper_call: Callable[..., Any], flags: list[str]) -> None:
    """`inspect` shows a network over budget, prints the budget error on stderr and exits with 1."""
    done = sweeper_call("inspect", "budget.parameters=500", *flags)
    assert done.returncode == 1
    assert "block2.2" in done.stdout
    assert done.stderr.startswith("sweeper: model has 9,848 parameters, the budget is 500")
    assert done.stderr.count("\n") == 1
    if flags:
        assert json.loads(done.stdout)["within_budget"] is False


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "--json"],
        ["inspect", "budget.parameters=500"],
        ["--help"],
        ["--cfg", "job"],
        ["modle=gap"],
        ["training.epochs=0"],
        ["budget.parameters=500"],
        ["search=card"],
        ["report"],
    ],
    ids=" ".join,
)
def test_quick_answers_import_no_torch(arguments: list[str], tmp_path: Path) -> None:
    """`inspect`, --help, --cfg and every refusal of an override answer without importing torch, NumPy or Optuna."""
    script = (
        f"import sys; sys.argv = ['sweeper', *{arguments!r}]\n"
        "from sweeper.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('imported', sorted({'torch', 'numpy', 'optuna'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "imported []"


def test_hydra_flags_keep_working(sweeper_process: Sweeper) -> None:
    """--help lists commands and groups, --cfg job prints the composed config, --info works."""
    done = sweeper_process("--help")
    assert done.returncode == 0
    assert "python -m sweeper inspect" in done.stdout
    assert "model: compact, deep, " in done.stdout
    done = sweeper_process("--cfg", "job", "model=gap", "training.epochs=3")
    assert done.returncode == 0
    assert "epochs: 3" in done.stdout
    assert sweeper_process("--info", "defaults").returncode == 0


def test_a_saved_config_runs_through_hydras_config_path(sweeper_call: Callable[..., Any], tmp_path: Path) -> None:
    """--config-path RUN/.hydra composes the saved config unchanged."""
    assert sweeper_call("data=mnist5k", "model=compact", "training.epochs=1", "hydra.run.dir=run").returncode == 0
    done = sweeper_call("--config-path", str(tmp_path / "run" / ".hydra"), "--config-name", "config", "--cfg", "job")
    assert done.returncode == 0
    assert done.stdout == (tmp_path / "run" / ".hydra" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("report", "the following arguments are required: STUDY|RUN"),
        ("report a --out", "argument --out: expected one argument"),
        ("dashboard --port abc", "argument --port: must be 0 to 65535, but got 'abc'"),
        ("reproduce", "the following arguments are required: RUN|STUDY"),
        ("inspect --jsn", "unrecognized arguments: --jsn"),
        ("bench --jsn", "unrecognized arguments: --jsn"),
    ],
)
def test_a_wrong_argument_of_a_command_is_one_line(
    sweeper_call: Callable[..., Any], arguments: str, message: str
) -> None:
    """A wrong argument is one line on stderr that points to --help, and exit status 1, not argparse's usage."""
    name, *rest = arguments.split()
    done = sweeper_call(name, *rest)
    assert done.returncode == 1
    assert done.stderr == f"sweeper: {message}: see python -m sweeper {name} --help\n"


@pytest.mark.parametrize("arguments", [["--nope"], ["-m", "--nope", "seed=1,2"], ["--config-dir"], ["--info", "x"]])
def test_a_wrong_option_of_hydra_is_one_line(sweeper_call: Callable[..., Any], arguments: list[str]) -> None:
    """Exit 1 and one line that points to --help, as for the commands; Hydra's parser is private to its version."""
    assert hydra.__version__.startswith(VERSION)
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("sweeper: ")
    assert done.stderr.endswith(": see python -m sweeper --help\n")
    assert done.stderr.count("\n") == 1


def test_a_mistyped_command_is_named(sweeper_call: Callable[..., Any]) -> None:
    """The line has the nearest command; `--version` is sweeper's own version, not Hydra's."""
    done = sweeper_call("inspct", "model=gap")
    assert done.returncode == 1
    assert done.stderr.startswith("sweeper: there is no command 'inspct' (did you mean inspect?): the commands are ")
    assert sweeper_call("--version").stdout == f"sweeper {__version__}\n"


def test_completion_offers_groups() -> None:
    """Hydra's tab completion completes the options of our config groups."""
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "--shell-completion", "query=bash"],
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "COMP_LINE": "sweeper model=", "COMP_POINT": "14"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "model=gap" in done.stdout, done.stderr
    assert "model=notebook" in done.stdout


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """If the reader closes the pipe after a line, as `head -1` does, nothing is printed on stderr."""
    for arguments in (["--help"], ["inspect", "--json"]):
        first = subprocess.Popen(
            command(*arguments), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert first.stdout is not None
        assert first.stderr is not None
        first.stdout.readline()
        first.stdout.close()
        assert first.stderr.read() == b""
        first.stderr.close()
        first.wait()


def test_debug_shows_the_traceback(sweeper_process: Sweeper) -> None:
    """SWEEPER_DEBUG=1 prints the traceback of an expected failure."""
    done = sweeper_process("training.epochs=0", SWEEPER_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "training.epochs must be positive, but got 0" in done.stderr


def test_a_bug_is_not_hidden(sweeper_call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is raised: only a `SweeperError` becomes one line."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(experiment, "fit", broken)
    with pytest.raises(ZeroDivisionError):
        sweeper_call("data=mnist5k", "training.epochs=1")


@pytest.mark.slow
def test_the_wheel_carries_its_config(tmp_path: Path) -> None:
    """Installed from its wheel, the package composes from its own conf/ and has the templates of its pages."""
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(CHECKOUT)]
    subprocess.run(wheel, check=True)
    (built,) = tmp_path.glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
        str(built),
    ]
    subprocess.run(install, check=True)
    templates = {path.name for path in (CHECKOUT / "sweeper" / "report" / "templates").iterdir()}
    assert {path.name for path in (tmp_path / "site" / "sweeper" / "report" / "templates").iterdir()} == templates
    script = "import sweeper, sys; print(sweeper.__file__); print(sweeper.compose(['model=gap']).model.head.name)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(tmp_path / "site" / "sweeper" / "__init__.py"), "gap"]
