"""What an ablation compares: its variants, what it refuses, and the effect of each with its interval."""

import functools
import math
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.ablation.effects import effect, finding
from sweeper.ablation.variants import Variant, _parse, folder_name, ingredients, make_variants, to_argument
from sweeper.errors import SweeperError

from .composed import compose


@pytest.fixture(autouse=True)
def _composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base and its variants are composed for each test: the tests share what is composed."""
    monkeypatch.setattr("sweeper.ablation.variants.compose", compose)


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
        (["search=card"], ["residual"], "the base must be a config to train, but search=card only applies with -m"),
        (["hydra.run.dir=x"], ["residual"], "the base must be a config to train, but hydra.run.dir=x only applies"),
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


@functools.cache
def _base() -> Variant:
    """The base of an ablation, made once: Hypothesis asks for it a hundred times."""
    return make_variants(["model=tiny"], ["training.ema=0.9"])[0]


@pytest.mark.parametrize("name", ["", "two-words_2.0"])
@given(st.lists(st.sampled_from(["training.ema=0.9", "~augment", "x='a b'", "y=[1, 2]", "z='it''s'"]), min_size=1))
def test_a_variants_argument_is_that_variant(name: str, overrides: list[str]) -> None:
    """What a record says of a variant is an argument that gives the same name and overrides, whatever its quotes."""
    asked = replace(_base(), name=name or " ".join(overrides), overrides=tuple(overrides))
    assert _parse(to_argument(asked)) == (asked.name, asked.overrides)
