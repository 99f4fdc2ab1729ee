"""Foreign text in Markdown, in which it stays text: plain, as a code span, as a code block."""

import html
import re


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def code(text: object) -> str:
    """Return a code span, in which Markdown has no markup: its fence is longer than any run of backticks within."""
    line = " ".join(str(text).split())
    if "`" not in line:
        return f"`{line}`" if line else "(nothing)"
    fence = "`" * (_longest_run(line) + 1)
    return f"{fence} {line} {fence}"


def fenced(text: str, language: str = "") -> str:
    """Return a code block, its fence likewise."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
