"""How untrusted text is put into Markdown so that it stays text: escaped, as a code span or as a code block."""

import html
import re


def plain(text: str) -> str:
    """Return the text escaped and on one line: Markdown shows it as it is."""
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def code(text: object) -> str:
    """Return a code span, in which nothing is markup: its fence is longer than any run of backticks inside."""
    line = " ".join(str(text).split())
    if "`" not in line:
        return f"`{line}`" if line else "(nothing)"
    fence = "`" * (_longest_run(line) + 1)
    return f"{fence} {line} {fence}"


def fenced(text: str, language: str = "") -> str:
    """Return a code block, with a fence likewise."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
