"""What a study's page says beyond Optuna: a note for the study and each trial, and the files of a trial's folder.

It is added to the dashboard's answers as they leave, for the trials that were asked for; none of it is stored.
"""

import mimetypes
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import bottle
from optuna.trial import FrozenTrial, TrialState

from sweeper.report.places import at, read_yaml
from sweeper.report.shelf import Shelf, is_feasible
from sweeper.run_folder import RunFolder
from sweeper.study.folder import StudyFolder
from sweeper.study.ledger import (
    DUPLICATE,
    FAILED,
    MACS,
    PARAMETERS,
    RECEPTIVE_FIELD,
    REJECTED,
    REQUEUED,
    RETRY,
)

STUDY_ROUTE: Final = "/api/studies/<study_id:int>"
"""Rules of optuna-dashboard's own routes that are answered differently here."""
ARTIFACT_ROUTE: Final = "/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"
AS_TEXT: Final = {".md", ".yaml", ".log", ".jsonl"}
"""Files a browser is to show, not to save."""


class Annotations:
    """A plugin of Bottle, on which optuna-dashboard stands: it wraps the routes' functions."""

    name = "annotations"
    api = 2

    def __init__(self, shelf: Shelf) -> None:
        """Annotate the answers about that shelf's studies."""
        self._shelf = shelf

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:
        """Return the function that answers in place of a route's own."""
        if route.method != "GET":
            return callback
        if route.rule == STUDY_ROUTE:

            def annotated(study_id: int) -> Any:
                return self._annotate(study_id, callback(study_id))

            return annotated
        return self._artifact if route.rule == ARTIFACT_ROUTE else callback

    def _annotate(self, study_id: int, answer: Any) -> Any:
        """Add notes, files and constraints to the answer about a study, unless it is an error's."""
        if not isinstance(answer, dict) or "trials" not in answer:
            return answer
        shelved = self._shelf.shelved(study_id)
        trials = self._shelf.get_all_trials(study_id, deepcopy=False)
        answer["note"] = _note(study_note(shelved.name, shelved.folder))
        answer["best_trials"] = [t for t in answer["best_trials"] if is_feasible(trials[t["number"]])]
        for shown in (*answer["trials"], *answer["best_trials"]):
            trial = trials[shown["number"]]
            shown["note"] = _note(trial_note(trial, shelved.folder))
            # The dashboard reads constraints as Optuna had them before its fifth version: a list.
            shown["constraints"] = list(trial.constraints.values())
            shown["artifacts"] = [
                {
                    "artifact_id": f"{_folder_number(trial):x}-{index:x}",
                    "filename": path.name,
                    "mimetype": _mimetype(path),
                    "encoding": None,
                }
                for index, path in enumerate(_files(trial, shelved.folder))
                if _is_there(path)
            ]
        return answer

    def _artifact(self, study_id: int, trial_id: int, artifact_id: str) -> Any:  # noqa: ARG002 - named by the route
        """Answer with a file of a trial's folder: the number in the id is the folder's, never a path."""
        numbers = re.fullmatch("([0-9a-f]+)-([0-9a-f])", artifact_id)
        try:
            folder = self._shelf.shelved(study_id).folder
        except KeyError:
            folder = None
        files = _of_folder(RunFolder(folder / str(int(numbers[1], 16)))) if folder and numbers else []
        if numbers is None or int(numbers[2], 16) >= len(files):
            return bottle.HTTPError(404, "no such file")
        path = files[int(numbers[2], 16)]
        return bottle.static_file(path.name, root=str(path.parent), mimetype=_mimetype(path))


class NoStore:
    """The artifact store that the dashboard asks for before it shows any file: files come from their folders instead."""

    def open_reader(self, artifact_id: str) -> Any:
        """Refuse."""
        raise FileNotFoundError(artifact_id)

    def write(self, artifact_id: str, content_body: Any) -> None:  # noqa: ARG002 - Optuna's protocol
        """Refuse."""
        raise FileNotFoundError(artifact_id)

    def remove(self, artifact_id: str) -> None:
        """Refuse."""
        raise FileNotFoundError(artifact_id)


def trial_note(trial: FrozenTrial, folder: Path | None) -> str:
    """Return a trial's note in Markdown; `folder` is its study's, None where it is not known."""
    attrs = trial.user_attrs
    lines: list[str] = []
    run = RunFolder(folder / str(_folder_number(trial))) if folder else None
    if DUPLICATE in attrs:
        lines.append(f"Repeats trial {code(attrs[DUPLICATE])}: the same config, so it has its value and its files.")
    if REJECTED in attrs:
        lines.append(f"Rejected, not trained: {code(attrs[REJECTED])}")
    elif trial.state is TrialState.PRUNED and trial.last_step is not None:
        value = trial.intermediate_values[trial.last_step]
        lines.append(f"Pruned after epoch {trial.last_step}, at {value:.4f}.")
    if FAILED in attrs:
        again = ", tried again under a new number" if attrs.get(REQUEUED) else ""
        lines.append(f"Failed{again}: {code(attrs[FAILED])}")
    if attrs.get(RETRY) is not None:
        lines.append(f"Tried before: {code(attrs[RETRY])} times failed.")
    costs = [
        f"{label.format(f'{attrs[key]:,}')}"
        for key, label in (
            (PARAMETERS, "{} parameters"),
            (MACS, "{} MACs"),
            (RECEPTIVE_FIELD, "receptive field {0}×{0}"),
        )
        if isinstance(attrs.get(key), int)
    ]
    if costs:
        lines.append(" · ".join(costs))
    if run is not None and run.path.is_dir():
        lines.append(f"Folder: {code(short(run.path))}")
        if run.config.exists():
            lines.append(f"Run it again: {_reproduce(run.path)}")
    params = trial.params or trial.system_attrs.get("fixed_params", {})
    if params:
        lines.append(fenced("\n".join(f"{key}={value}" for key, value in params.items())))
    return "\n\n".join(lines)


def study_note(name: str, folder: Path | None) -> str:
    """Return a study's note in Markdown: its target, what it searches, where it lies, how it goes on."""
    if folder is None:
        return f"Study {code(name)}: its folder is not known here, so its trials' files are not shown."
    files = StudyFolder(folder)
    search, sweep = read_yaml(files.search), read_yaml(files.multirun)
    lines = []
    target = at(search, "base", "target")
    if isinstance(target, float):
        lines.append(f"Target: {target:.2%}")
    space = at(search, "space")
    if isinstance(space, dict) and space:
        lines.append("Searched:\n\n" + fenced("\n".join(_searched(space))))
    lines.append(f"Folder: {code(short(folder))}")
    if files.best.is_dir():
        lines.append(f"The best trial again: {_reproduce(files.best)}")
    typed = [*_strings(at(sweep, "hydra", "overrides", "task")), *_strings(at(sweep, "hydra", "overrides", "hydra"))]
    if typed:
        overrides = [_without_password(line) for line in typed if not line.startswith("hydra.mode=")]
        lines.append(f"Go on: {code(shlex.join(['python', '-m', 'sweeper', '-m', *overrides]))}")
    return "\n\n".join(lines)


def code(text: object) -> str:
    """Return foreign text as a code span, in which Markdown has no markup: its fence is longer than any within."""
    line = " ".join(str(text).split())
    if "`" not in line:
        return f"`{line}`" if line else "(nothing)"
    fence = "`" * (_longest_run(line) + 1)
    return f"{fence} {line} {fence}"


def fenced(text: str) -> str:
    """Return foreign lines as a code block, likewise."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def short(path: Path) -> str:
    """Return the path as a person would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _reproduce(folder: Path) -> str:
    """The command in a span, which a narrow page folds; a block would widen the page."""
    return code(shlex.join(["python", "-m", "sweeper", "reproduce", short(folder)]))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _note(body: str) -> dict[str, Any]:
    return {"version": 1, "body": body}


def _folder_number(trial: FrozenTrial) -> int:
    """The number of the trial whose folder it is: one that repeats another has none of its own."""
    repeated = trial.user_attrs.get(DUPLICATE)
    return repeated if isinstance(repeated, int) and repeated >= 0 else trial.number


def _files(trial: FrozenTrial, folder: Path | None) -> list[Path]:
    return _of_folder(RunFolder(folder / str(_folder_number(trial)))) if folder else []


def _of_folder(run: RunFolder) -> list[Path]:
    """Return the files to be shown of a run, there or not, in the order of their ids."""
    return [run.curves, run.confusion, run.report, run.config, run.metrics, run.log]


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _mimetype(path: Path) -> str:
    if path.suffix in AS_TEXT:
        return "text/plain"
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _searched(space: dict[Any, Any]) -> Iterator[str]:
    """A line for each searched key: its range or values."""
    for key, distribution in space.items():
        fields = at(distribution, "attributes") or {}
        if "choices" in fields:
            yield f"{key}: {', '.join(str(choice) for choice in fields['choices'])}"
            continue
        step = f", step {fields['step']}" if fields.get("step") not in {None, 1} else ""
        log = ", logarithmic" if fields.get("log") else ""
        yield f"{key}: {fields.get('low')} to {fields.get('high')}{step}{log}"


def _strings(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _without_password(override: str) -> str:
    """Leave out a storage's URL that is written out, since it may hold a password, in more than one place."""
    key, _, value = override.partition("=")
    is_hidden = key == "hydra.sweeper.storage" and "${" not in value and "sqlite" not in value
    return f"{key}=URL" if is_hidden else override
