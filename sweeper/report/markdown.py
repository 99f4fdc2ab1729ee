"""Makes untrusted text safe in Markdown: escaped, as a code span or as a code block."""

import html
import re


def plain(text: str) -> str:
    """Return the text on one line, escaped so that Markdown shows it unchanged."""
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def code(text: object) -> str:
    """Return the text on one line as a code span; its fence is longer than any sequence of backticks in the text."""
    line = " ".join(str(text).split())
    if "`" not in line:
        return f"`{line}`" if line else "(nothing)"
    fence = "`" * (_longest_run(line) + 1)
    return f"{fence} {line} {fence}"


def fenced(text: str, language: str = "") -> str:
    """Return the text as a code block; its fence is longer than any sequence of backticks in the text."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
