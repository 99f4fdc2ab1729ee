"""What `bench` reports: every figure is present, plausible and from real training. How large they are is not tested."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from sweeper.bench import ablation, measure
from sweeper.bench.loops import engine_loop, notebook_loop
from sweeper.bench.report import Bench
from sweeper.bench.throughput import Contender, Loop, Rates, compare
from sweeper.config.schema import ExperimentConf
from sweeper.network.cpu.fast_paths import ALL_FAST_PATHS, NO_FAST_PATHS, FastPaths

from .composed import compose
from .processes import Completed, Sweeper

TINY = ["experiment=notebook", "data=mnist5k", "threads=1", "training.batch_size=2", "training.epochs=1", "device=cpu"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook's loop validates on test images: its processes log that in the working folder's outputs/."""
    monkeypatch.chdir(tmp_path)


class _Enough(Exception):  # noqa: N818 - not an error
    """The loop has trained the requested number of blocks."""


def _blocks(loop: Loop, conf: ExperimentConf, count: int) -> list[float]:
    rates: list[float] = []

    def on_block(rate: float) -> None:
        rates.append(rate)
        if len(rates) == count:
            raise _Enough

    with pytest.raises(_Enough):
        loop(conf, on_block)
    return rates


@pytest.mark.parametrize("loop", [notebook_loop, engine_loop, partial(engine_loop, fast_paths=NO_FAST_PATHS)])
def test_loops_train_block_by_block(loop: Loop) -> None:
    """Each loop trains the notebook's network and reports a rate after every block."""
    assert all(rate > 0 for rate in _blocks(loop, compose(TINY), 3))


def _rates(*images_per_second: float) -> Rates:
    contender = Contender(loop=engine_loop, conf=compose(TINY))
    return Rates(contender=contender, images_per_second=images_per_second)


def test_a_speedup_is_the_median_of_each_turns_ratio() -> None:
    """A machine that slows down half way slows both loops alike, so ratios are taken turn by turn."""
    fast, slow = _rates(400, 200, 100), _rates(100, 50, 20)
    assert fast.over(slow) == 4
    assert fast.median == 200
    assert fast.range == (100, 400)


def test_contenders_train_in_processes_of_their_own() -> None:
    """A loop with its fast paths crosses the process boundary; every turn gives a rate."""
    loop = partial(engine_loop, fast_paths=NO_FAST_PATHS)
    rates = compare({"one": Contender(loop=loop, conf=compose(TINY))}, 1, lambda: None)
    assert all(rate > 0 for rate in rates["one"].images_per_second)


def _compare(contenders: Mapping[str, Contender], turns: int, on_turn: Callable[[], None]) -> dict[str, Rates]:
    """Give each enabled fast path 10 % and bf16 twice the speed, without training."""
    rates = {}
    for name, contender in contenders.items():
        paths = _fast_paths(contender)
        speed = 100 * 1.1 ** sum(dataclasses.astuple(paths)) * (2 if contender.conf.precision == "bf16" else 1)
        rates[name] = Rates(contender=contender, images_per_second=(speed,) * turns)
        for _ in range(turns):
            on_turn()
    return rates


def _fast_paths(contender: Contender) -> FastPaths:
    if not isinstance(contender.loop, partial):
        return NO_FAST_PATHS
    paths = contender.loop.keywords["fast_paths"]
    assert isinstance(paths, FastPaths)
    return paths


def _printed(table: RenderableType) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench that trains nothing."""
    monkeypatch.setattr(measure, "compare", _compare)
    monkeypatch.setattr(measure, "trial_overhead_ms", lambda: 12.0)
    return measure.measure(["data=mnist5k"], quick=True, console=None)


def test_bench_compares_the_fast_paths_with_torchs_modules(bench: Bench) -> None:
    """Both networks are measured in each precision with all fast paths and with none, on one thread."""
    assert bench.fast_path_gain == {
        network: {precision: pytest.approx(1.1**2) for precision in ("fp32", "auto")}
        for network in ("notebook", "default")
    }
    for name, rates in bench.rates.items():
        if name.endswith("_without_fast_paths"):
            pair = bench.rates[name.removesuffix("_without_fast_paths")]
            assert _fast_paths(pair.contender) == ALL_FAST_PATHS
            assert _fast_paths(rates.contender) == NO_FAST_PATHS
            assert pair.contender.conf == rates.contender.conf
            assert rates.contender.conf.threads == 1
    table = _printed(bench.tables())
    assert "default network" in table
    assert "1.21" in table


def test_bench_keeps_its_keys(bench: Bench) -> None:
    """Programs read the JSON: a key is never removed."""
    figures = json.loads(bench.as_json())
    assert figures.keys() >= {
        "machine",
        "speedup",
        "images_per_second",
        "images_per_second_range",
        "precision",
        "threads",
        "peak_gflops",
        "peak_share",
        "target",
        "seconds_to_target",
        "trial_overhead_ms",
        "plans_per_second",
        "quick",
    }
    assert figures["speedup"].keys() >= {"fp32", "auto"}
    assert figures["images_per_second"].keys() >= {"notebook", "fp32", "auto"}


def test_ablation_measures_every_path_on_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real training steps of every variant: each path has a row, quartiles are in order, and all paths together gain."""
    monkeypatch.setattr(ablation, "QUICK_ROUNDS", 2)
    measured = ablation.measure_ablation(["data=mnist5k"], quick=True, console=None)
    figures = json.loads(measured.as_json())
    assert figures["gain"].keys() == figures["ms_per_step"].keys() == {"notebook", "default"}
    for by_precision in figures["gain"].values():
        assert by_precision.keys() == {"fp32", "auto"}
        for by_path in by_precision.values():
            assert {field.name for field in dataclasses.fields(FastPaths)} < by_path.keys()
            assert all(low <= median <= high for low, median, high in by_path.values())
    table = _printed(measured.tables())
    for field in dataclasses.fields(FastPaths):
        assert field.name in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model=gap"], "bench only takes overrides that choose the data, but got model=gap: leave it out"),
        (["--ablation", "model=gap"], "bench only takes overrides that choose the data"),
        (["data.root=/nowhere"], "data=mnist is not in data.root=/nowhere"),
        (["data=none"], "data has no option 'none'"),
    ],
)
def test_bad_input_to_bench_is_one_line(
    arguments: list[str], said: str, sweeper_call: Callable[..., Completed]
) -> None:
    """An override or data set that bench cannot use is an error before any process starts."""
    done = sweeper_call("bench", "--quick", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_bench_measures_this_machine(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """Bench --quick --json prints every figure, each median within its range, and leaves no file behind."""
    done = sweeper_process("bench", "--quick", "--json", "data=mnist5k")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert {"fp32", "auto"} <= set(figures["speedup"])
    for name, median in figures["images_per_second"].items():
        slowest, fastest = figures["images_per_second_range"][name]
        assert 0 < slowest <= median <= fastest
    ratios = [figures["speedup"], *figures["fast_path_gain"].values()]
    assert all(ratio > 0 for by_precision in ratios for ratio in by_precision.values())
    assert 0 < figures["peak_share"] < 1
    assert figures["trial_overhead_ms"] > 0
    assert figures["plans_per_second"] > 0
    assert figures["seconds_to_target"] is None
    # The notebook validates on the test set: that is all that is left.
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["test_openings.jsonl"]
