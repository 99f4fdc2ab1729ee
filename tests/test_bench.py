"""What `bench` says: that its figures are there, belong together and come from real runs. Never how large they are."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.bench.loops import engine_loop, notebook_loop
from sweeper.bench.throughput import Contender, Rates
from sweeper.config.composition import compose
from sweeper.config.schema import ExperimentConf

from .conftest import Completed, Sweeper

TINY = ["experiment=notebook", "data=mnist5k", "threads=1", "training.batch_size=2", "training.epochs=1", "device=cpu"]


class _Enough(Exception):  # noqa: N818 - no error
    """The loop has trained as many blocks as were asked for."""


def _blocks(loop: Callable[..., None], conf: ExperimentConf, count: int) -> list[float]:
    rates: list[float] = []

    def on_block(rate: float) -> None:
        rates.append(rate)
        if len(rates) == count:
            raise _Enough

    with pytest.raises(_Enough):
        loop(conf, on_block)
    return rates


@pytest.mark.parametrize("loop", [notebook_loop, engine_loop])
def test_both_loops_train_block_by_block(loop: Callable[..., None]) -> None:
    """Each loop trains the reference network for real and gives a rate after every block."""
    assert all(rate > 0 for rate in _blocks(loop, compose(TINY), 3))


def _rates(*images_per_second: float) -> Rates:
    contender = Contender(loop=engine_loop, conf=compose(TINY))
    return Rates(contender=contender, images_per_second=images_per_second)


def test_a_speedup_is_the_median_of_the_turns_own_ratios() -> None:
    """A machine that slows down half way slows both alike: ratios are taken turn by turn."""
    fast, slow = _rates(400, 200, 100), _rates(100, 50, 20)
    assert fast.over(slow) == 4
    assert fast.median == 200
    assert fast.range == (100, 400)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model=gap"], "bench trains what it always trains, on data that may be chosen, but got model=gap"),
        (["data.root=/nowhere"], "data=mnist is not in data.root=/nowhere"),
        (["data=none"], "data has no option 'none'"),
    ],
)
def test_bad_input_to_bench_is_one_line(
    arguments: list[str], said: str, sweeper_call: Callable[..., Completed]
) -> None:
    """What cannot be measured is said before anything is started."""
    done = sweeper_call("bench", "--quick", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_bench_measures_this_machine(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """Bench --quick --json prints every figure, each within its range, and leaves nothing behind."""
    done = sweeper_process("bench", "--quick", "--json", "data=mnist5k")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert {"fp32", "auto"} <= set(figures["speedup"])
    for name, median in figures["images_per_second"].items():
        slowest, fastest = figures["images_per_second_range"][name]
        assert 0 < slowest <= median <= fastest
    assert all(ratio > 0 for ratio in figures["speedup"].values())
    assert 0 < figures["peak_share"] < 1
    assert figures["trial_overhead_ms"] > 0
    assert figures["plans_per_second"] > 0
    assert figures["seconds_to_target"] is None
    assert not list(tmp_path.iterdir())
