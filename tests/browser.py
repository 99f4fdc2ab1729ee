"""A real browser for tests: its page, its errors and its requests."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, sync_playwright

WAIT_MS = 60_000
"""Milliseconds that a condition may take on a busy machine."""


@dataclass
class Visit:
    """A page, and everything that happened in it since it was opened."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """Console errors and uncaught exceptions."""
    requests: list[str] = field(default_factory=list)
    """Every URL requested."""

    def requests_outside(self, *own: str) -> list[str]:
        """The requested URLs that start with none of `own` and are not data inside the page."""
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
        page.on("console", lambda message: visited.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: visited.errors.append(str(error)))
        page.on("request", lambda request: visited.requests.append(request.url))
        yield visited
        browser.close()
