"""Adds notes, files and constraints to optuna-dashboard's HTTP responses. Nothing of it is stored."""

import mimetypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import bottle

from sweeper.dashboard.notes import study_headline_of, study_note, trial_note
from sweeper.dashboard.pages import page_url, read_only_html, report_url
from sweeper.dashboard.read_only_storage import ReadOnlyStorage, is_feasible
from sweeper.run.folder import RunFolder
from sweeper.study.attributes import REJECTED
from sweeper.study.folder import trial_folder
from sweeper.untrusted import is_file_within

STUDY_ROUTE: Final = "/api/studies/<study_id:int>"
"""This and the next two are optuna-dashboard's own routes; their responses are changed or replaced here."""
ARTIFACT_ROUTE: Final = "/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"
HTML_ROUTE: Final = "/dashboard<:re:(/.*)?>"
AS_TEXT: Final = {".md", ".yaml", ".log", ".jsonl"}
"""Suffixes of files that a browser should show as text, not download."""


class Annotations:
    """A plugin for Bottle, the framework of optuna-dashboard: it wraps the functions of three routes."""

    name = "annotations"
    api = 2

    def __init__(self, storage: ReadOnlyStorage) -> None:
        """Annotate the responses about the studies of `storage`."""
        self._storage = storage

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:
        """Return the function that Bottle calls for a route, in place of `callback` for the three routes."""
        if route.method != "GET":
            return callback
        if route.rule == STUDY_ROUTE:

            def annotated(study_id: int) -> Any:
                return self._annotate(study_id, callback(study_id))

            return annotated
        if route.rule == HTML_ROUTE:
            return lambda: read_only_html(callback())
        return self._artifact if route.rule == ARTIFACT_ROUTE else callback

    def _annotate(self, study_id: int, answer: Any) -> Any:
        """Add notes, files and constraints to the response about a study. An error response is returned unchanged."""
        if not isinstance(answer, dict) or "trials" not in answer:
            return answer
        entry = self._storage.entry(study_id)
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        goal = self._storage.goal(study_id)
        folder, lost = self._storage.look_into(study_id)
        headline = study_headline_of(trials, goal, folder, lost=lost)
        page = page_url(study_id, folder)
        numbers = [trial.number for trial in trials]
        answer["note"] = _note(study_note(entry.name, folder, headline=headline, page=page, numbers=numbers))
        if headline.metric != "value":
            answer["objective_names"] = [headline.metric, *([goal.unit] if goal.cost else [])]
        # The dashboard caches trials for seconds; meanwhile the study may have been deleted and started again.
        for key in ("trials", "best_trials"):
            answer[key] = [shown for shown in answer[key] if shown["number"] < len(trials)]
        answer["best_trials"] = [shown for shown in answer["best_trials"] if is_feasible(trials[shown["number"]])]
        for shown in (*answer["trials"], *answer["best_trials"]):
            trial = trials[shown["number"]]
            report = report_url(study_id, trial, folder)
            shown["note"] = _note(trial_note(trial, folder, report=report))
            if REJECTED in trial.user_attrs:
                shown["state"] = "Rejected"  # Optuna has no such state; the dashboard shows a text it does not know
            # The dashboard reads constraints in the format before Optuna 5: a list.
            shown["constraints"] = list(trial.constraints.values())
            shown["artifacts"] = _artifacts(trial_folder(folder, trial)) if folder else []
        return answer

    def _artifact(self, study_id: int, trial_id: int, artifact_id: str) -> Any:  # noqa: ARG002 - named by the route
        """Respond with a file of a trial's folder. The id has the folder's number and a file index, never a path."""
        numbers = re.fullmatch("([0-9a-f]+)-([0-9a-f])", artifact_id)
        try:
            folder = self._storage.entry(study_id).folder
        except KeyError:
            folder = None
        files = _files(RunFolder(folder / str(int(numbers[1], 16)))) if folder and numbers else []
        if numbers is None or int(numbers[2], 16) >= len(files):
            return bottle.HTTPError(404, "no such file")
        path = files[int(numbers[2], 16)]
        if folder is None or not is_file_within(path, folder):
            return bottle.HTTPError(404, "no such file")
        return bottle.static_file(path.name, root=str(path.parent), mimetype=_mimetype(path))


class NoStore:
    """An empty artifact store: the dashboard shows files only if it has a store. `Annotations` serves them instead."""

    def open_reader(self, artifact_id: str) -> Any:
        """Raise FileNotFoundError: the store is empty."""
        raise FileNotFoundError(artifact_id)

    def write(self, artifact_id: str, content_body: Any) -> None:  # noqa: ARG002 - Optuna's protocol
        """Raise FileNotFoundError: the store is read-only."""
        raise FileNotFoundError(artifact_id)

    def remove(self, artifact_id: str) -> None:
        """Raise FileNotFoundError: the store is empty."""
        raise FileNotFoundError(artifact_id)


def _note(body: str) -> dict[str, Any]:
    return {"version": 1, "body": body}


def _artifacts(run: RunFolder) -> list[dict[str, Any]]:
    """Return the files of a trial's folder in the dashboard's artifact format. The folder's name must be a number."""
    return [
        {
            "artifact_id": f"{int(run.path.name):x}-{index:x}",
            "filename": path.name,
            "mimetype": _mimetype(path),
            "encoding": None,
        }
        for index, path in enumerate(_files(run))
        if _has_content(path)
    ]


def _files(run: RunFolder) -> list[Path]:
    """Return the files to show of a run, existing or not: an artifact's id contains the index in this list."""
    return [run.curves, run.confusion, run.report, run.config, run.metrics, run.log]


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _mimetype(path: Path) -> str:
    if path.suffix in AS_TEXT:
        return "text/plain"
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
