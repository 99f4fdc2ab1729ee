"""What tests of pages share: studies in their folders, their pages, and the text of a page."""

import re
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import sweeper
from sweeper.config.composition import compose
from sweeper.report.build import build_page
from sweeper.report.page_figure import PageFigure
from sweeper.report.study_figures import study_figures, study_view
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.study.storage import journal_url, open_storage

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
    """The folders of two new runs that differ in one config key."""
    for name, dropout in (("a", 0.0), ("b", 0.1)):
        conf = compose(["data=mnist5k", "model=compact", "training.epochs=2", f"model.dropout={dropout}"])
        sweeper.run(conf, folder=folder / name, show=False)
    return [folder / "a", folder / "b"]
