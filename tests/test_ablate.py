"""The command `ablate`: what it compares, what it refuses, its effects, its files, resuming and more seeds."""

import io
import json
import math
import random
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweeper.ablation.effects import effect, finding
from sweeper.ablation.record import make_record
from sweeper.ablation.variants import _parse, folder_name, ingredients, make_variants, to_argument
from sweeper.errors import SweeperError
from sweeper.report import ablation_table
from sweeper.terminal.result_table import result_table

from .conftest import CHECKOUT, Completed, Sweeper

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


def test_the_effect_is_the_paired_difference_with_students_interval() -> None:
    """Of five seeds: the mean of the differences by seed, and 2.776 standard errors around it."""
    base = {1: 0.98, 2: 0.97, 3: 0.99, 4: 0.985, 5: 0.975}
    variant = {5: 0.985, 1: 0.985, 2: 0.98, 3: 0.992, 4: 0.99}
    found = effect(base, variant, 10_000)
    assert found is not None
    differences = [variant[seed] - base[seed] for seed in base]
    half = 2.776 * stdev(differences) / math.sqrt(5)
    assert found.difference == pytest.approx(fmean(differences))
    assert found.interval.low == pytest.approx(fmean(differences) - half, abs=1e-5)
    assert found.interval.high == pytest.approx(fmean(differences) + half, abs=1e-5)
    assert finding(found) == "helps"
    back = effect(variant, base, 10_000)
    assert back is not None
    assert finding(back) == "hurts"


@given(
    st.dictionaries(st.integers(1, 9), st.integers(9000, 10000)),
    st.dictionaries(st.integers(1, 9), st.integers(9000, 10000)),
)
def test_an_effect_needs_two_seeds_of_both(base: dict[int, int], variant: dict[int, int]) -> None:
    """Only seeds that both have are compared; the interval holds the effect and is never without width."""
    first, second = ({seed: count / 10_000 for seed, count in counts.items()} for counts in (base, variant))
    found, both = effect(first, second, 10_000), base.keys() & variant.keys()
    assert (found is None) == (len(both) < 2)
    if found is not None:
        assert found.difference == pytest.approx(fmean(variant[seed] - base[seed] for seed in both) / 10_000)
        assert found.interval.low < found.difference < found.interval.high
        assert (finding(found) == "no evidence") == (found.interval.low <= 0 <= found.interval.high)


def test_two_seeds_that_differ_by_one_image_are_no_evidence() -> None:
    """The same difference of one image in both seeds has no spread, and is still no certainty."""
    found = effect({1: 0.98, 2: 0.97}, {1: 0.9801, 2: 0.9701}, 10_000)
    assert found is not None
    assert finding(found) == "no evidence"


def test_of_variants_without_effect_one_in_twenty_is_said_to_have_one() -> None:
    """The intervals cover zero in 95 % of 2,000 simulated ablations of a variant that changes nothing."""
    draw = random.Random(1)  # noqa: S311 - a simulation
    covered = 0
    for _ in range(2000):
        base, variant = ({seed: draw.gauss(0.98, 0.001) for seed in range(5)} for _ in range(2))
        found = effect(base, variant, 10_000)
        assert found is not None
        covered += finding(found) == "no evidence"
    assert 0.935 < covered / 2000 < 0.965


def test_every_ingredient_is_a_network_of_both_sizes() -> None:
    """`all` stands for each ingredient that the base lacks, at both published sizes; below 2,000 parameters all fit."""
    for base, parameters, left_out in (
        (["model=deep", "budget=unlimited"], 10_000, None),
        (["model=tiny", "augment=affine"], 2_000, "affine"),
    ):
        variants = make_variants(base, ["all"])
        assert [variant.name for variant in variants] == ["base", *(name for name in ingredients() if name != left_out)]
        assert variants[0].design.summary.parameters < parameters


def test_variants_are_named_by_what_was_typed() -> None:
    """A variant is overrides, with a name before a colon or without, or an ingredient's name."""
    arguments = [
        "ema",
        "training.ema=0.5",
        "two: model.bias=true training.epochs=2",
        "model.groups.block1.channels=[4, 4]",
    ]
    base, *variants = make_variants(["model=tiny"], [*arguments[:3], "'model.groups.block1.channels=[4, 4]'"])
    assert base.overrides == ()
    assert [variant.name for variant in variants] == ["ema", "training.ema=0.5", "two", arguments[3]]
    assert variants[2].overrides == ("model.bias=true", "training.epochs=2")
    assert variants[2].conf.training.epochs == 2
    assert variants[3].conf.model.groups["block1"].channels == [4, 4]


@given(st.text(max_size=200))
def test_a_folder_name_is_one_folder(text: str) -> None:
    """Any text gives the name of a visible folder, at most 80 characters long."""
    name = folder_name(text)
    assert 0 < len(name) <= 80
    assert Path(name).name == name
    assert not name.startswith(".")


@pytest.mark.parametrize(
    ("base", "variants", "rule"),
    [
        ([], ["afine"], r"a variant must be overrides or one of all, .*but got 'afine' \(did you mean affine\?\)"),
        ([], [""], "a variant must be overrides such as training.ema=0.99, but got ''"),
        (
            [],
            ["two words: training.ema=0.9"],
            r"name must be one word of letters, .*, but got 'two words' in 'two words: ",
        ),
        (["affine"], ["residual"], "the base must be overrides key=value, but got 'affine'"),
        ([], [": training.ema=0.9"], "name must be one word of letters, .*, but got ''"),
        (
            [],
            ["affine training.ema=0.9"],
            "overrides key=value or one ingredient alone, but got 'affine' in 'affine tr",
        ),
        ([], ["training.ema = 0.9"], "but got 'training.ema' in .*: leave no spaces around ="),
        ([], ["'a=1"], "must have its quotes closed"),
        ([], ["training.ema=0"], "must change something besides the seed, but training.ema=0 equals the base"),
        ([], ["seed=7"], "must change something besides the seed, but seed=7 equals the base"),
        ([], ["data.split_seed=1"], "must be validated on the base's images, but data.split_seed=1 changes data"),
        ([], ["affine", "affine: augment=erasing"], "two are called affine"),
        ([], ["base: augment=affine"], "two are called base"),
        (
            [],
            ["training.em=1"],
            r"variant training.em=1: the config has no key 'training.em' \(did you mean training.ema",
        ),
        (["data.validation=test"], ["affine"], "an ablation compares validation accuracies, but data.validation=test"),
        (["data.validation=none"], ["affine"], "data.validation must be split or test, but got none"),
        (["model=deep"], ["all"], "variant squeeze_excite: model has .* parameters, the budget is 9,999: .*unlimited"),
    ],
)
def test_what_cannot_be_compared_is_refused(base: list[str], variants: list[str], rule: str) -> None:
    """A mistake is one line with the rule, the variant and the fix, before anything is trained."""
    with pytest.raises(SweeperError, match=rule) as error:
        make_variants(base, variants)
    assert "\n" not in str(error.value)


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
    assert "3 of 12 runs missing, train them with: python -m sweeper ablate model=tiny --variants" in done.stdout
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


@pytest.mark.parametrize("name", ["", "two-words_2.0"])
@given(st.lists(st.sampled_from(["training.ema=0.9", "~augment", "x='a b'", "y=[1, 2]", "z='it''s'"]), min_size=1))
def test_a_variants_argument_is_that_variant(name: str, overrides: list[str]) -> None:
    """What a record says of a variant is an argument that gives the same name and overrides, whatever its quotes."""
    base, *_ = make_variants(["model=tiny"], ["training.ema=0.9"])
    asked = replace(base, name=name or " ".join(overrides), overrides=tuple(overrides))
    assert _parse(to_argument(asked)) == (asked.name, asked.overrides)


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
