"""Decides which pages of a study the dashboard serves itself: the study's page, its trials' reports, and no others."""

import html
import re
from pathlib import Path
from typing import Any, Final

import bottle
from markdown_it import MarkdownIt
from optuna.trial import FrozenTrial

from sweeper.dashboard.read_only_storage import ReadOnlyStorage
from sweeper.study.folder import BEST, trial_folder
from sweeper.untrusted import is_file_within, read_bytes

PAGES: Final = "/pages/"
"""The start of every URL of a page."""
ROUTE: Final = f"{PAGES}<study_id:int>/<name:path>"
SERVED: Final = re.compile(rf"(?:(?:\d+|{BEST})/)?(?:report\.html|report\.md|curves\.png|confusion\.png)")
"""The files that are served, relative to a study's folder."""
POLICIES: Final = {
    # In a sandbox, a page's scripts run without access to the dashboard and its data.
    ".html": "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ".md": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""The Content-Security-Policy of a page by its suffix: nothing is loaded from, or sent to, another host."""
READ_ONLY_STYLE: Final = """<style>
button[aria-label="rename study"], button[aria-label="delete study"], button:has(> svg[data-testid="EditIcon"]),
button:has(svg[data-testid="AddBoxIcon"]), button:has(svg[data-testid="DeleteIcon"]),
.MuiCard-root:has(svg[data-testid="UploadFileIcon"]) { display: none; }
</style>
"""
"""Hides the dashboard's buttons for what is refused: creating, renaming and deleting studies, editing notes, files."""
MARKDOWN_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
img { max-width: 100%; } pre { white-space: pre-wrap; overflow-wrap: anywhere; } code { overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #8886; text-align: left; }
"""


class Pages:
    """Serves the pages in the studies' folders."""

    def __init__(self, storage: ReadOnlyStorage) -> None:
        """Serve pages of the studies of `storage`."""
        self._storage = storage

    def serve(self, study_id: int, name: str) -> Any:
        """Respond with a file of a study's folder; a report in Markdown is rendered."""
        try:
            folder = self._storage.entry(study_id).folder
        except KeyError:
            folder = None
        if folder is None or not SERVED.fullmatch(name) or not is_file_within(folder / name, folder):
            return bottle.HTTPError(404, "no such page")
        path = folder / name
        if path.suffix == ".md":
            response = bottle.HTTPResponse(_rendered(path), headers={"Content-Type": "text/html; charset=UTF-8"})
        else:
            response = bottle.static_file(path.name, root=str(path.parent))
        if path.suffix in POLICIES:
            response.set_header("Content-Security-Policy", POLICIES[path.suffix])
        return response


def page_url(study_id: int, folder: Path | None) -> str | None:
    """Return the URL of a study's page; None if it has none."""
    has_page = folder is not None and (folder / "report.html").is_file()
    return f"{PAGES}{study_id}/report.html" if has_page else None


def report_url(study_id: int, trial: FrozenTrial, folder: Path | None) -> str | None:
    """Return the URL of a trial's report, as a page if it has one; None if it has none."""
    if folder is None:
        return None
    run = trial_folder(folder, trial).path
    names = [name for name in ("report.html", "report.md") if (run / name).is_file()]
    return f"{PAGES}{study_id}/{run.name}/{names[0]}" if names else None


def read_only_html(response: Any) -> Any:
    """Return optuna-dashboard's page without the buttons for what is refused. An error is returned unchanged."""
    if response.status_code != 200 or not hasattr(response.body, "read"):
        return response
    with response.body as file:
        page = file.read().decode()
    changed = bottle.HTTPResponse(page.replace("</head>", f"{READ_ONLY_STYLE}</head>", 1))
    changed.set_header("Content-Type", "text/html; charset=UTF-8")
    return changed


def _rendered(path: Path) -> str:
    """Return a report in Markdown as HTML. HTML in the report is shown, not rendered."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(read_bytes(path).decode(errors="replace"))
    title = html.escape(f"{path.parent.name}/{path.name}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="UTF-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{MARKDOWN_STYLE}</style></head>'
        f"<body>{body}</body></html>"
    )
