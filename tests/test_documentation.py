"""README.md and the pages it links to: every command is accepted, every snippet runs, every link and name exists."""

import doctest
import importlib.util
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import pytest
from omegaconf import OmegaConf

from sweeper.cli.main import COMMANDS
from sweeper.config import model as model_schema
from sweeper.config.composition import compose, compose_dict
from sweeper.config.loading import VARIANTS, dotted
from sweeper.config.search_path import CONFIGS
from sweeper.design import analyze_within_budget
from sweeper.run import experiment
from sweeper.search import dry_run

from . import composed
from .processes import CHECKOUT, Completed
from .studies import HERE, SAVED, TINY

README: Final = "README.md"
PAGES: Final = (README, "conf/README.md", "sweeper/README.md", "sweeper/study/README.md", "sweeper/bench/README.md")
MAX_README_LINES: Final = 170
MAX_IMAGE_BYTES: Final = 300_000
FENCED: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SWEEPER: Final = "python -m sweeper"
PROGRAMS: Final = {"python", "python3", ".venv/bin/python", ".venv/bin/pip", "pip", "ruff", "mypy", "sbatch"}
WORK: Final = {
    "ablate": (("sweeper.replicates.runner", "train_replicates"),),
    "bench": (
        ("sweeper.bench.ablation", "measure_ablation"),
        ("sweeper.bench.measure", "measure"),
        ("sweeper.bench.searches", "compare_searches"),
        ("sweeper.bench.study_cost", "measure_study_costs"),
    ),
    "confirm": (("sweeper.confirm.candidates", "select_trials"), ("sweeper.confirm.candidates", "select_runs")),
    "dashboard": (("sweeper.dashboard.serve", "dashboard"),),
    "report": (("sweeper.report.build", "build_page"),),
    "reproduce": (("sweeper.reading.named_runs", "find_run"),),
    "resume": (("sweeper.run.resuming", "resume"),),
}
"""The functions that do the work of each command."""
SLOW_SNIPPETS: Final = {README}
"""Pages whose Python snippets train a network for seconds."""
BASH: Final = shutil.which("bash") or "bash"
Call = Callable[..., Completed]


class Accepted(Exception):  # noqa: N818 - no error: it stops a command that was accepted
    """Raised where a command would start its work."""


class Documented(NamedTuple):
    """A command on a page."""

    page: str
    line: str


def text_of(page: str) -> str:
    """The Markdown of a page."""
    return (CHECKOUT / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    return [body for name, body in FENCED.findall(text_of(page)) if name == language]


def documented(page: str) -> Iterator[Documented]:
    """Every shell command of a page: lines of its sh blocks, inline code, and what follows ``$`` in its text blocks."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"(?<!`)`(python -m sweeper[^`]*)`(?!`)", FENCED.sub("", text_of(page)))
    lines += [line[2:] for block in blocks(page, "text") for line in block.splitlines() if line.startswith("$ ")]
    for line in dict.fromkeys(lines):
        for one in line.split(" && "):
            yield Documented(page, one)


EVERY: Final = [command for page in PAGES for command in documented(page)]
OURS: Final = {line: page for page, line in EVERY if line.removeprefix(".venv/bin/").startswith(SWEEPER)}
"""Every command of sweeper's, with a page that has it."""


def write_files(page: str, folder: Path) -> None:
    """Write the YAML files of a page, each named by a comment in it, and a saved run where a command names one."""
    for block in blocks(page, "yaml"):
        path = folder / re.findall(r"^# (\S+\.yaml)$", block, re.MULTILINE)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    for run in set(re.findall(r"outputs/runs/[\w/-]+", text_of(page))):
        shutil.copytree(SAVED / "run", folder / run)


def accepted(*_: object, **__: object) -> None:
    """Stand in for the work of a command."""
    raise Accepted


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_commands(page: str) -> None:
    """Commands are found on every page, so that the tests below check some."""
    assert [command for command in EVERY if command.page == page]


def test_commands_are_of_known_programs() -> None:
    """A command is sweeper's or of a program that the reader has: a new one is seen here first."""
    assert {shlex.split(line)[0] for _, line in EVERY} <= PROGRAMS


@pytest.mark.parametrize("line", sorted({command.line for command in EVERY}))
def test_a_command_can_be_pasted_into_bash_and_zsh(line: str) -> None:
    """Brackets, globs, braces, a leading ~ and # are quoted: zsh expands them or fails, and takes # for an argument."""
    assert subprocess.run([BASH, "-n"], input=line, text=True, check=False).returncode == 0
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
    assert not re.search(r"[][*?(){}<>!^#|;`\\]|(?:^|[ =])[~=]|\$", bare), bare


@pytest.mark.parametrize("line", OURS)
def test_every_command_is_accepted(
    line: str, sweeper_call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each command runs through the front door, up to the point where it would train, serve, measure or read a folder.

    A search is described by its dry run.
    """
    write_files(OURS[line], tmp_path)
    words = shlex.split(line.replace("$PWD", str(tmp_path)))[3:]
    for module, function in WORK.get(words[0], ()) if words else ():
        monkeypatch.setattr(importlib.import_module(module), function, accepted)
    monkeypatch.setenv("STUDY_URL", "sqlite:///studies.db")
    monkeypatch.setattr(experiment, "run", accepted)
    monkeypatch.setattr("sweeper.ablation.variants.compose", composed.compose)  # twenty variants take seconds
    monkeypatch.setattr(dry_run, "SAMPLES", 10)  # a thousand points take two seconds
    if {"inspect", "--help", "--cfg"} & set(words):
        assert sweeper_call(*words).returncode == 0
    elif "-m" in words:
        assert sweeper_call(*words, "hydra.sweeper.dry_run=true").stderr == ""
    elif words[:1] and words[0] in COMMANDS:
        with pytest.raises(Accepted):
            sweeper_call(*words)
        if words[0] == "bench":
            analyze_within_budget(compose([word for word in words[1:] if not word.startswith("-")]))
    elif line in _quoted_errors():
        assert sweeper_call(*words).stderr.split() == _quoted_errors()[line].split()
    else:
        with pytest.raises(Accepted):
            sweeper_call(*words)


def _quoted_errors() -> dict[str, str]:
    """The refused commands of README.md, with the error that it quotes."""
    found = (re.fullmatch(r"\$ (.*)\n(sweeper: .*)", block, re.DOTALL) for block in blocks(README, "text"))
    return {match[1]: match[2] for match in found if match}


def test_an_error_is_quoted() -> None:
    """README.md shows an error, which the test above compares with the real one."""
    assert _quoted_errors()


def test_the_diagnosis_is_quoted_as_it_is_printed(sweeper_call: Call) -> None:
    """The finding that README.md shows is what `inspect` prints."""
    (finding,) = (block for block in blocks(README, "text") if block.startswith("! "))
    assert " ".join(finding.split()) in " ".join(sweeper_call("inspect", "model=notebook").stdout.split())


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow) if page in SLOW_SNIPPETS else page for page in PAGES]
)
def test_python_snippets_run(page: str, sweeper_call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The snippets of a page run in order, in one namespace, beside the study that the page is about."""
    snippets = blocks(page, "python")
    monkeypatch.chdir(tmp_path)
    studies = set(re.findall(r"outputs/studies/([\w-]+)/", "".join(snippets)))
    for study in studies:
        trained = sweeper_call("-m", *TINY, *HERE, "seed=1,2", f"hydra.sweeper.study_name={study}")
        assert trained.returncode == 0, trained.stderr
    namespace: dict[str, Any] = {}
    for snippet in snippets:
        exec(compile(snippet, page, "exec"), namespace)  # noqa: S102 - the project's own pages


def test_the_readme_is_short_and_its_pictures_small() -> None:
    """README.md has at most 170 lines, and shows pictures near its top, each of less than 300 KB."""
    assert len(text_of(README).splitlines()) <= MAX_README_LINES
    pictures = re.findall(r"\.github/images/[\w.-]+", text_of(README))
    assert pictures
    assert all((CHECKOUT / picture).stat().st_size < MAX_IMAGE_BYTES for picture in pictures)
    assert text_of(README).index(pictures[0]) < text_of(README).index("\n## ")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """A relative link names a file that exists, and the anchor of one a heading on that page."""
    links = re.findall(r"\]\(([^)]+)\)", FENCED.sub("", text_of(page)))
    for link in links:
        path, _, anchor = link.partition("#")
        if not path.startswith("https://"):
            target = ((CHECKOUT / page).parent / path).resolve()
            assert target.exists(), link
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_names_in_the_code_tour_exist() -> None:
    """A step of an extension links to a file, and the names that it quotes are in that file or in the schema."""
    page = "sweeper/README.md"
    steps = re.findall(r"^\d\. (.*?)(?=\n\n|\n\d\. |\n\Z)", text_of(page), re.MULTILINE | re.DOTALL)
    assert len(steps) > 20
    everything = "".join(file.read_text() for file in (CHECKOUT / "sweeper").rglob("*.py"))
    everything += "".join(file.read_text() for file in (CHECKOUT / "tests").glob("*.py"))
    for step in steps:
        for name in re.findall(r"(?<!\[)`(\w+(?:\.\w+)?)`", step):
            assert re.search(rf"\b{name.rpartition('.')[2]}\b", everything), (name, step)


def test_every_option_and_key_of_the_config_is_documented() -> None:
    """conf/README.md names every config group and option, every key, and every value of a key with a fixed set."""
    page = text_of("conf/README.md")
    named = set(re.findall(r"`([^`]+)`", page))
    for root in (CHECKOUT / "conf", CONFIGS):
        for file in root.rglob("*.yaml"):
            group = file.relative_to(root).parent.as_posix()
            if group not in {".", "hydra/help", "hydra/job_logging", "hydra/sweeper"}:
                assert {group, file.stem} <= named, file
    keys = {key.rpartition(".")[2] for key, _ in dotted(OmegaConf.to_container(compose_dict([]), resolve=False))}
    keys |= {key for section in VARIANTS.values() for variant in section.values() for key in variant.__annotations__}
    words = set(re.findall(r"\w+", page))
    assert keys <= words, keys - words
    values = {
        value
        for kind in ("DropoutKind", "Norm", "Activation", "Order")
        for value in get_args(getattr(model_schema, kind))
    }
    assert values <= named, values - named


def test_the_pictures_show_what_stays_on_the_screen() -> None:
    """The script that makes the pictures replaces a line as a terminal does: its doctest holds."""
    script = CHECKOUT / ".github" / "images" / "make.py"
    spec = importlib.util.spec_from_file_location("make", script)
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    results = doctest.testmod(make)
    assert (results.attempted, results.failed) == (1, 0)
