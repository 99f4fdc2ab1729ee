"""What tests of pages share: studies in their folders, their pages, and the text of a page."""

import re
from pathlib import Path
from random import Random
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import sweeper
from sweeper.report.build import build_page
from sweeper.report.page_figure import PageFigure
from sweeper.report.study_figures import study_figures, study_view
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.study.attributes import FAILED, MACS, PARAMETERS, REJECTED, RULE
from sweeper.study.storage import journal_url, open_storage

from .composed import compose

HOSTILE = "<img src=x onerror=window.hit=1></script><script>window.hit=1</script>{{7*7}}"
"""Text that does something if a page takes it for markup, script or template."""


def make_study(name: str = "one", *, direction: Literal["maximize", "minimize"] = "maximize") -> optuna.Study:
    """An empty study in its folder, below the working directory."""
    folder = Path("outputs/studies") / name
    study = optuna.create_study(
        study_name=name, storage=open_storage(journal_url(folder / "journal.log")), direction=direction
    )
    (folder / "search.yaml").write_text("base: {target: 0.99, budget: {parameters: 9999}}\nspace: {}\n")
    return study


def add_trial(
    study: optuna.Study,
    value: float | None,
    attrs: dict[str, Any] | None = None,
    state: TrialState = TrialState.COMPLETE,
) -> None:
    """Add a finished trial of two epochs, completed by default."""
    study.add_trial(
        create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            params={"optimizer.lr": 0.1, "model.groups.block1.channels.0": len(study.trials) + 1},
            distributions={
                "optimizer.lr": FloatDistribution(0.001, 1, log=True),
                "model.groups.block1.channels.0": IntDistribution(1, 20),
            },
            intermediate_values={} if value is None else {1: value / 2, 2: value},
            user_attrs=attrs,
        )
    )


def fill_study(study: optuna.Study, count: int, *, rejected: int = 0, failed: int = 0, epochs: int = 6) -> None:
    """Add trials as a search leaves them: mostly completed, a quarter pruned, one diverged, rejected ones among them."""
    random = Random(count)  # noqa: S311 - no secret
    kinds: dict[str, BaseDistribution] = {
        "model.dropout": FloatDistribution(0, 0.2),
        "optimizer.lr": FloatDistribution(0.003, 0.5, log=True),
        **{f"model.groups.block{group}.channels.{layer}": IntDistribution(4, 20) for group in "12" for layer in "012"},
    }
    states = ["rejected"] * rejected + ["failed"] * failed + ["run"] * (count - failed)
    random.shuffle(states)
    trials = []
    for number, state in enumerate(states):
        params = {key: random.randint(4, 20) if "channels" in key else random.uniform(0.004, 0.19) for key in kinds}
        size = sum(int(value) ** 2 * 5 for key, value in params.items() if "channels" in key) + 200
        value = round(0.95 + size / 600_000 - 0.1 * params["model.dropout"] + random.gauss(0, 0.002), 3)
        value = 0.114 if number == 7 else value
        curve = {epoch: value - 0.3 * 0.4**epoch if epoch < epochs else value for epoch in range(1, epochs + 1)}
        attrs: dict[str, Any] = {PARAMETERS: min(size, 9900), MACS: 90 * size}
        told: dict[str, Any] = {"value": value, "intermediate_values": curve}
        if state == "rejected":
            size += 10_000
            attrs = {REJECTED: f"model has {size:,} parameters", RULE: "over budget", PARAMETERS: size}
            told = {"state": TrialState.PRUNED}
        elif state == "failed":
            attrs[FAILED] = "training loss must stay finite, but was nan in epoch 2: lower optimizer.lr"
            told = {"state": TrialState.FAIL}
        elif number > 4 and random.random() < 0.25:
            told = {"state": TrialState.PRUNED, "intermediate_values": {1: curve[1], 2: curve[2]}}
        trials.append(create_trial(params=params, distributions=kinds, user_attrs=attrs, **told))
    study.add_trials(trials)


def page_of(name: str = "one") -> str:
    """The page that `report` writes for a study."""
    return build_page([name], storage=None, out=None).path.read_text()


def text_of(page: str) -> str:
    """A page's text, without scripts, style and tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)).replace(" :", ":")


def rows_of(page: str) -> list[list[str]]:
    """The texts of the cells in the table of trials, row by row."""
    body = re.search(r'<table id="trials".*?<tbody>(.*?)</tbody>', page, flags=re.DOTALL)
    rows = re.findall(r"<tr\b.*?</tr>", body[1] if body else "", flags=re.DOTALL)
    return [[text_of(cell).strip() for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, re.DOTALL)] for row in rows]


def figures_of(study: optuna.Study, config: dict[str, Any] | None = None) -> list[PageFigure]:
    """A study's figures, plotted or not; `config` is its base config with dotted keys."""
    return study_figures(study_view(StudySnapshot.of(study), config or {}))


def make_runs(folder: Path) -> list[Path]:
    """The folders of two new runs on two thousand digits that differ in one config key."""
    common = ["data=mnist5k", "data.validation_size=2000", "model=compact", "training.epochs=2"]
    for name, dropout in (("a", 0.0), ("b", 0.1)):
        conf = compose([*common, f"model.dropout={dropout}"])
        sweeper.run(conf, folder=folder / name, show=False)
    return [folder / "a", folder / "b"]
