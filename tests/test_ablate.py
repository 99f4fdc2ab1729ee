"""The command `ablate`: what it needs, its table, its files, resuming and more seeds."""

import io
import json
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweeper.ablation.record import make_record
from sweeper.ablation.variants import folder_name, make_variants
from sweeper.report import ablation_table
from sweeper.terminal.result_table import result_table

from .composed import compose
from .processes import CHECKOUT, Completed, Sweeper

SAVED = next(path.parent for path in sorted((CHECKOUT / "tests" / "saved").rglob("result.json")))
"""A run whose result stands for any."""

BASE = [
    "data=mnist5k",
    "model=tiny",
    "data.validation_size=3000",
    "training.epochs=1",
    "training.batch_size=100",
    "precision=fp32",
]


def test_the_command_line_says_what_it_needs(sweeper_call: Callable[..., Completed]) -> None:
    """Too few seeds and no variants are one line; --show without runs says how to train them."""
    for arguments, rule in (
        (["--variants", "affine", "--seeds", "1"], "must be 2 to 1000, but got '1'"),
        (["model=tiny"], "the following arguments are required: --variants"),
        (["augment=affine", "--variants", "affine"], "equals the base"),
        (["model=tiny", "--variants", "affine", "--workers", "0"], "must be 1 to 1000, but got '0'"),
    ):
        done = sweeper_call("ablate", *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert rule in done.stderr
    done = sweeper_call("ablate", *BASE, "--variants", "affine", "--show")
    assert done.returncode == 0
    assert "no run is complete" in done.stdout
    assert "--show" not in done.stdout


def test_the_table_in_markdown_keeps_any_name_in_its_cell() -> None:
    """A variant with | in it stays one cell; every row has as many cells as the head."""
    base, variant = make_variants(["model=tiny"], ["training.ema=0.9"])
    variants = [base, variant, replace(variant, name="a|b`c", overrides=("data.root='x|y'",))]
    record = make_record(variants, [[] for _ in variants], base=["model=tiny"], seeds=[1, 2], command="python …")
    lines = [line for line in ablation_table.markdown(record).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(variants)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert record.missing == 2 * len(variants)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table_reads_in_a_narrow_terminal(width: int) -> None:
    """Variant, effect and finding are there at any width; no figure is cut, no line too long, a name breaks in words."""
    name = "model.groups.block1.channels=[5,5,6] training.ema=0.95"
    rows = [
        ("base", "12,345", "98.12 %", "0.11", "", "", ""),
        (f"{name} (2 of 5)", "12,345 (+1,234)", "98.15 %", "0.11", "+22.57", "-11.58 to +46.71", "no evidence"),
    ]
    columns, dropped = ablation_table.COLUMNS, ablation_table.DROPPED
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(result_table(columns, rows, width=width, dropped=dropped))
    shown = console.export_text()
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
    assert "…" not in shown
    assert all(cell in shown for cell in ("variant", "effect", "+22.57", "no evidence", "-11.58 to +46.71"))
    assert all(word in shown for word in ("[5,5,6]", "ema=0.95", "(2 of 5)"))
    assert (f"{name} (2 of 5)" in shown) == (width == 140)
    left_out = [column for column in dropped if column not in shown.splitlines()[0]]
    assert left_out == list(dropped[: len(left_out)])
    assert all(column in shown for column in left_out)  # named below


@given(st.text("ab1.=,_ ()é", max_size=60), st.integers(1, 60), st.integers(1, 12))
def test_a_table_loses_no_character_of_a_name(name: str, width: int, figure: int) -> None:
    """Whatever the width, the first column has the whole name, and a figure is complete if there is room for it."""
    console = Console(width=max(width, figure + 12), record=True, file=io.StringIO())
    table = result_table(["name", "n"], [[name, "7" * figure]], width=console.width, dropped=[])
    console.print(table, markup=False)
    lines = [line.replace("7" * figure, "") for line in console.export_text().splitlines()[1:]]
    assert "".join("".join(lines).split()) == "".join(name.split())


@pytest.fixture(autouse=True)
def _composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command composes the base and all variants: the tests share what is composed."""
    monkeypatch.setattr("sweeper.ablation.variants.compose", compose)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts runs into the ablation small without training: the folder and the result of each variant and seed."""

    def train(base: Sequence[str], arguments: Sequence[str], seeds: Sequence[int]) -> None:
        monkeypatch.chdir(tmp_path)
        for variant in make_variants(base, arguments):
            for seed in seeds:
                folder = tmp_path / "outputs/ablations/small" / folder_name(variant.name) / f"seed-{seed}"
                shutil.copytree(SAVED, folder)
                config = asdict(replace(variant.conf, seed=seed))
                (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))

    return train


def test_runs_of_another_base_are_refused_and_nothing_is_written(
    trained: Callable[..., None], sweeper_call: Callable[..., Completed], tmp_path: Path
) -> None:
    """A table never attributes a run to another config: with --show and without, one line and the files stay."""
    trained(["model=tiny"], ["residual"], [1, 2])
    small = ["--name", "small", "--seeds", "2"]
    done = sweeper_call("ablate", "model=tiny", *small, "--variants", "residual")
    assert done.returncode == 0, done.stderr
    files = [tmp_path / "outputs/ablations/small" / name for name in ("ablation.json", "ablation.md")]
    before = [file.read_bytes() for file in files]
    for show in ([], ["--show"]):
        done = sweeper_call("ablate", "model=tiny", "optimizer.lr=0.05", *small, *show, "--variants", "residual")
        assert done.returncode == 1
        assert "holds a run of another config: optimizer.lr is" in done.stderr
        assert "or the ablation with --name" in done.stderr
        assert "residual" not in done.stdout
    assert [file.read_bytes() for file in files] == before


def test_a_smaller_ablation_keeps_what_was_trained(
    trained: Callable[..., None], sweeper_call: Callable[..., Completed], tmp_path: Path
) -> None:
    """Fewer variants and seeds lose none in record, table and --show; the command in it gives the same record again."""
    arguments, folder = (
        ["residual", "slow: optimizer.lr=0.05", "training.ema=0.9"],
        tmp_path / "outputs/ablations/small",
    )
    trained(["model=tiny"], arguments, [1, 2, 3])
    small = ["ablate", "model=tiny", "--name", "small", "--seeds"]
    assert sweeper_call(*small, "3", "--variants", *arguments).returncode == 0
    whole = json.loads((folder / "ablation.json").read_text())
    shutil.rmtree(folder / "residual")  # what has no run is not kept
    (folder / "slow" / "seed-3").rename(folder / "slow" / "seed-5")
    config = folder / "slow" / "seed-5" / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("seed: 3", "seed: 5"))
    done = sweeper_call(*small, "2", "--variants", "training.ema=0.9")
    assert done.returncode == 0, done.stderr
    kept = json.loads((folder / "ablation.json").read_text())
    assert [each["name"] for each in kept["variants"]] == ["base", "training.ema=0.9", "slow"]
    assert [each["seeds"] for each in kept["variants"]] == [[1, 2, 3], [1, 2, 3], [1, 2, 5]]
    assert kept["variants"][1] == whole["variants"][3]
    assert kept["seeds"] == [1, 2, 3, 5]
    assert "3 of 12 runs missing, train them:\npython -m sweeper ablate model=tiny --variants" in done.stdout
    for show in ([], ["--show"]):
        assert "slow (3 of 4)" in sweeper_call(*small, "2", *show, "--variants", "training.ema=0.9").stdout
    words = shlex.split(kept["command"])[3:]
    assert words[words.index("--variants") :][1:3] == ["training.ema=0.9", "slow: optimizer.lr=0.05"]
    again = sweeper_call(*words, "--show")
    assert "runs missing" in again.stdout
    assert kept["command"] in again.stdout  # it lists nothing twice


def test_a_variant_of_another_base_is_not_kept(
    trained: Callable[..., None], sweeper_call: Callable[..., Completed], tmp_path: Path
) -> None:
    """A record of other configs in the folder stays out of a new table; a damaged one is one line with the fix."""
    trained(["model=tiny"], ["residual", "training.ema=0.9"], [1, 2])
    small, record = ["--name", "small", "--seeds", "2"], tmp_path / "outputs/ablations/small/ablation.json"
    assert sweeper_call("ablate", "model=tiny", *small, "--variants", "residual", "training.ema=0.9").returncode == 0
    for name in ("base", "training.ema=0.9"):
        shutil.rmtree(record.parent / name)
    trained(["model=tiny", "optimizer.lr=0.05"], ["training.ema=0.9"], [1, 2])
    done = sweeper_call("ablate", "model=tiny", "optimizer.lr=0.05", *small, "--variants", "training.ema=0.9")
    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in json.loads(record.read_text())["variants"]] == ["base", "training.ema=0.9"]
    record.write_text("{}")
    done = sweeper_call("ablate", "model=tiny", *small, "--variants", "training.ema=0.9")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "ablation.json must hold an ablation, but is damaged ('variants'): delete it" in done.stderr


def test_show_only_prints(trained: Callable[..., None], sweeper_call: Callable[..., Completed], tmp_path: Path) -> None:
    """Of fewer variants or more seeds, --show prints the table and how many seeds it is of, and writes no file."""
    trained(["model=tiny"], ["residual", "training.ema=0.9"], [1, 2])
    arguments = ["ablate", "model=tiny", "--name", "small", "--seeds", "5", "--show", "--variants", "training.ema=0.9"]
    done = sweeper_call(*arguments)
    assert done.returncode == 0, done.stderr
    assert "training.ema=0.9 (2 of 5)" in done.stdout
    assert "deviation of 2 of 5 seeds so far." in done.stdout
    assert "6 of 10 runs missing" in done.stdout
    assert not list((tmp_path / "outputs/ablations/small").glob("ablation.*"))


def test_help_fits_a_terminal(sweeper_call: Callable[..., Completed]) -> None:
    """The usage names each option, in lines of 60 characters; a percent sign is one."""
    shown = sweeper_call("ablate", "--help").stdout
    usage = shown.partition("\n\n")[0]
    assert max(len(line) for line in usage.splitlines()) <= 60
    assert all(option in usage for option in ("-h", "--variants", "--seeds", "--name", "--workers", "--show"))
    assert "%%" not in shown


@pytest.mark.slow
def test_an_ablation_is_resumed_and_extended(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """A second call trains only new variants and seeds; table, JSON and Markdown agree with the runs."""
    first = sweeper_process("ablate", *BASE, "--variants", "training.ema=0.9", "--seeds", "2", "--name", "small")
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "outputs" / "ablations" / "small"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*/result.json")}
    assert len(before) == 4
    more = ["wide: model.groups.block1.channels=[5,5,6]"]
    second = sweeper_process(
        "ablate", *BASE, "--variants", "training.ema=0.9", *more, "--seeds", "3", "--name", "small"
    )
    assert second.returncode == 0, second.stderr
    assert "9 runs, 4 of them done before" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    saved = json.loads((folder / "ablation.json").read_text())
    assert [variant["name"] for variant in saved["variants"]] == ["base", "training.ema=0.9", "wide"]
    for variant in saved["variants"]:
        assert variant["seeds"] == [1, 2, 3]
        runs = [folder / folder_name(variant["name"]) / f"seed-{seed}" / "result.json" for seed in (1, 2, 3)]
        values = [json.loads(run.read_text())["value"] for run in runs]
        assert variant["val_accuracies"] == values
        assert f"{fmean(values) * 100:.2f} %" in (folder / "ablation.md").read_text()
        assert f"{variant['parameters']:,}" in second.stdout
    assert saved["variants"][0]["effect"] is None
    shown = sweeper_process(
        "ablate", *BASE, "--variants", "training.ema=0.9", *more, "--seeds", "3", "--name", "small", "--show"
    )
    assert (
        shown.stdout.splitlines()[1:3]
        == [line for line in second.stdout.splitlines() if line[:4] in {"vari", "base"}][-2:]
    )
    other = sweeper_process("ablate", *BASE, "optimizer.lr=0.1", "--variants", "training.ema=0.9", "--name", "small")
    assert other.returncode == 1
    assert "holds a run of another config: optimizer.lr is 0.2 there and 0.1 here" in other.stderr
