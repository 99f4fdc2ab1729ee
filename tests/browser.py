"""A real browser: what it showed, what it complained of, what it asked for."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, sync_playwright

WAIT_MS = 60_000
"""How long a condition may take on a busy machine."""


@dataclass
class Visit:
    """A page and all that went on in it since it was opened."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """Console errors and exceptions nobody caught."""
    requests: list[str] = field(default_factory=list)
    """Every URL asked for."""

    def elsewhere(self, *own: str) -> list[str]:
        """The URLs asked for that begin with none of `own`, and are no data that the page itself holds."""
        return [url for url in self.requests if not url.startswith((*own, "data:", "blob:"))]


@pytest.fixture
def visit() -> Iterator[Visit]:
    """Headless Chromium with an empty page; skips where none is installed."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium is installed")
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=sandbox)
        page = browser.new_page(viewport={"width": 1400, "height": 2000})
        page.set_default_timeout(WAIT_MS)
        visited = Visit(page)
        page.on("console", lambda said: visited.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: visited.errors.append(str(error)))
        page.on("request", lambda request: visited.requests.append(request.url))
        yield visited
        browser.close()
