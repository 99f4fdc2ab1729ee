"""What tests of the dashboard's process share: the process, once it listens, and its answers."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pytest

from .processes import command, environment

ADDRESS = re.compile(r"dashboard: (http://127\.0\.0\.1:\d+)/ · (\d+) stud(?:y|ies) · Ctrl-C ends it\n")


@contextmanager
def serving(
    *arguments: str, stderr: int | TextIO = subprocess.PIPE, **variables: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The dashboard as a real process that listens; yields its address."""
    process = subprocess.Popen(
        command("dashboard", "--port", "0", *arguments),
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    assert process.stdout is not None
    address = ADDRESS.fullmatch(process.stdout.readline())
    try:
        if address is None:
            process.kill()
            _, err = process.communicate()
            pytest.fail(err)
        yield address[1], process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def get_json(url: str) -> Any:
    """The answer at this URL."""
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - http, to ourselves
        return json.load(answer)
