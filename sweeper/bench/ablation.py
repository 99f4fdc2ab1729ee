"""The gain of each hand-written CPU path: ``bench --ablation`` trains with all of them, and with one left out, in turn.

Variants alternate every few training steps in one process, and the thread's own processor time counts: the ratios vary by a
few percent, a tenth of what turns of whole processes vary by on a shared machine.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.bench.measure import compose_networks, make_progress
from sweeper.bench.report import PRECISIONS, describe_machine, machine_line
from sweeper.config.schema import ExperimentConf
from sweeper.data.images import LabelledImages
from sweeper.data.splits import split
from sweeper.design import analyze
from sweeper.network.build import build
from sweeper.network.cpu.fast_paths import ALL_FAST_PATHS, NO_FAST_PATHS, FastPaths
from sweeper.training.device import keep_freed_memory, reproducible, resolve
from sweeper.training.loop import make_autocast
from sweeper.training.optim import Optimizer

STEPS: Final = 4
"""Training steps of a block."""
ROUNDS: Final = 60
"""Blocks of each variant."""
QUICK_ROUNDS: Final = 15
"""The same with ``--quick``."""
_VARIANTS: Final[dict[str, FastPaths]] = {
    "all": ALL_FAST_PATHS,
    "none": NO_FAST_PATHS,
    "without conv_unit": replace(ALL_FAST_PATHS, conv_unit=False),
    "without max_pool": replace(ALL_FAST_PATHS, max_pool=False),
}
_GAINS: Final[dict[str, tuple[str, str]]] = {
    "all paths": ("all", "none"),
    "conv_unit": ("all", "without conv_unit"),
    "max_pool": ("all", "without max_pool"),
}
"""Each row of the table: the faster variant and the slower one."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Processor time of every variant."""

    seconds: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    """By network, precision and variant: of each block of `STEPS` training steps, one thread."""
    precisions: Mapping[str, str]
    """What each measured precision resolves to on this machine."""

    def gain(self, network: str, precision: str, row: str) -> tuple[float, float, float]:
        """Return how many times as fast a row's paths make training: quartiles over blocks, the median second."""
        seconds = self.seconds[network][precision]
        faster, slower = _GAINS[row]
        ratios = [slow / fast for fast, slow in zip(seconds[faster], seconds[slower], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, median, high

    def as_json(self) -> str:
        """Return everything as one JSON object; each gain is the three quartiles, each time the median in ms a step."""
        return json.dumps(
            {
                "machine": describe_machine(),
                "ms_per_step": {
                    network: {
                        precision: {
                            name: round(1000 * statistics.median(blocks) / STEPS, 3)
                            for name, blocks in variants.items()
                        }
                        for precision, variants in by_precision.items()
                    }
                    for network, by_precision in self.seconds.items()
                },
                "gain": {
                    network: {
                        precision: {
                            row: [round(value, 3) for value in self.gain(network, precision, row)] for row in _GAINS
                        }
                        for precision in by_precision
                    }
                    for network, by_precision in self.seconds.items()
                },
            },
            indent=2,
        )

    def tables(self) -> RenderableType:
        """Return the table for a terminal."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("gain of", no_wrap=True)
        columns = [(network, precision) for network, variants in self.seconds.items() for precision in variants]
        for network, precision in columns:
            table.add_column(f"{network}, {self.precisions[precision]}", justify="right")
        for row in _GAINS:
            quartiles = [self.gain(*column, row) for column in columns]
            table.add_row(row, *(f"{median:.2f} ({low:.2f}-{high:.2f})" for low, median, high in quartiles))
        rounds = len(next(iter(next(iter(self.seconds.values())).values()))["all"])
        note = Text(
            f"Processor time of a training step without the path over that with it, one thread: median and quartiles of "
            f"{rounds} alternating blocks of {STEPS} steps.",
            style="dim",
        )
        return Group(machine_line(), table, note)


def measure_ablation(overrides: Sequence[str], *, quick: bool, console: Console | None) -> Ablation:
    """Measure every variant on both networks in each precision, on one thread; show progress on `console`.

    Raises what `sweeper.bench.measure.measure` raises.
    """
    confs = compose_networks(overrides)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    if console is not None and not console.is_terminal:
        console.print(f"measuring, about {'30 seconds' if quick else 'two minutes'}")
    seconds: dict[str, dict[str, dict[str, list[float]]]] = {}
    precisions: dict[str, str] = {}
    with make_progress(console) as progress:
        task = progress.add_task("variants, in turn", total=rounds * len(PRECISIONS) * len(confs))
        for network, conf in confs.items():
            images = split(conf.data).train
            seconds[network] = {}
            for precision in PRECISIONS:
                resolved = resolve(replace(conf, precision=precision, threads=1))
                precisions[precision] = resolved.precision
                seconds[network][precision] = _alternate(resolved, images, rounds, lambda: progress.advance(task))
    return Ablation(seconds=seconds, precisions=precisions)


def _alternate(
    conf: ExperimentConf, images: LabelledImages, rounds: int, on_round: Callable[[], None]
) -> dict[str, list[float]]:
    """Return each variant's processor seconds, block by block: all variants take one block, then all the next."""
    keep_freed_memory()
    with reproducible(conf):
        blocks = {name: _make_block(conf, images, paths) for name, paths in _VARIANTS.items()}
        for block in blocks.values():
            block()  # compiles, and fills caches
        seconds: dict[str, list[float]] = {name: [] for name in blocks}
        for _ in range(rounds):
            for name, block in blocks.items():
                started = time.thread_time()
                block()
                seconds[name].append(time.thread_time() - started)
            on_round()
    return seconds


def _make_block(conf: ExperimentConf, images: LabelledImages, fast_paths: FastPaths) -> Callable[[], None]:
    """Return a function that takes `STEPS` training steps of a new network, as `sweeper.training.loop.fit` takes them."""
    network = build(analyze(conf).plan, fast_paths=fast_paths).to(memory_format=torch.channels_last)
    network.train()
    optimizer = Optimizer(conf.optimizer, conf.scheduler, network, epochs=ROUNDS, steps_per_epoch=2 * STEPS)
    autocast, size = make_autocast(conf), conf.training.batch_size

    def block() -> None:
        for step in range(STEPS):
            pixels_bchw = images.normalise_(images.pixels(step * size, (step + 1) * size))
            with autocast:
                logits_bk = network(pixels_bchw.contiguous(memory_format=torch.channels_last)).float()
            loss = F.cross_entropy(logits_bk, images.labels_b[step * size : (step + 1) * size])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()

    return block
