"""The dashboard's answers, changed as they leave: notes, files and constraints of what was asked for; nothing is stored."""

import mimetypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import bottle
from optuna.trial import FrozenTrial

from sweeper.dashboard.notes import folder_number, study_note, trial_note
from sweeper.reading.read_only_storage import ReadOnlyStorage, is_feasible
from sweeper.run.folder import RunFolder

STUDY_ROUTE: Final = "/api/studies/<study_id:int>"
"""Rules of optuna-dashboard's own routes that are answered differently here."""
ARTIFACT_ROUTE: Final = "/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"
AS_TEXT: Final = {".md", ".yaml", ".log", ".jsonl"}
"""Files a browser is to show, not to save."""


class Annotations:
    """A plugin of Bottle, on which optuna-dashboard stands: it wraps the routes' functions."""

    name = "annotations"
    api = 2

    def __init__(self, shelf: ReadOnlyStorage) -> None:
        """Annotate the answers about that shelf's studies."""
        self._shelf = shelf

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:
        """Return the function that answers in location of a route's own."""
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
        entry = self._shelf.entry(study_id)
        trials = self._shelf.get_all_trials(study_id, deepcopy=False)
        answer["note"] = _note(study_note(entry.name, entry.folder))
        # The dashboard remembers trials for some seconds, in which a study may have been begun anew.
        for key in ("trials", "best_trials"):
            answer[key] = [shown for shown in answer[key] if shown["number"] < len(trials)]
        answer["best_trials"] = [shown for shown in answer["best_trials"] if is_feasible(trials[shown["number"]])]
        for shown in (*answer["trials"], *answer["best_trials"]):
            trial = trials[shown["number"]]
            shown["note"] = _note(trial_note(trial, entry.folder))
            # The dashboard reads constraints as Optuna had them before its fifth version: a list.
            shown["constraints"] = list(trial.constraints.values())
            shown["artifacts"] = [
                {
                    "artifact_id": f"{folder_number(trial):x}-{index:x}",
                    "filename": path.name,
                    "mimetype": _mimetype(path),
                    "encoding": None,
                }
                for index, path in enumerate(_files(trial, entry.folder))
                if _is_there(path)
            ]
        return answer

    def _artifact(self, study_id: int, trial_id: int, artifact_id: str) -> Any:  # noqa: ARG002 - named by the route
        """Answer with a file of a trial's folder: the number in the id is the folder's, never a path."""
        numbers = re.fullmatch("([0-9a-f]+)-([0-9a-f])", artifact_id)
        try:
            folder = self._shelf.entry(study_id).folder
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


def _note(body: str) -> dict[str, Any]:
    return {"version": 1, "body": body}


def _files(trial: FrozenTrial, folder: Path | None) -> list[Path]:
    return _of_folder(RunFolder(folder / str(folder_number(trial)))) if folder else []


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
