"""Decides how a command is printed, so that bash and zsh read it back word for word: its program and its quoting."""

import functools
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_ZSH_COMMAND: Final = re.compile(r"(?:^|[=:])=")
"""Where zsh may put the path of a command in place of ``=name``."""
_ESCAPED: Final = re.compile(r"[\\'!]|(?<= ) |[^ -~]")
"""Characters that are escaped in ``$'...'``, if they are not to be shown as they are: see `_escape`."""


def sweeper_command(*words: str) -> str:
    """Return the shell command that runs sweeper with these words, for example ``python -m sweeper inspect``."""
    return join([*program(), *words])


def program() -> tuple[str, ...]:
    """Return the words that start sweeper with this process's interpreter from any folder, where its commands are printed."""
    return (interpreter(), "-m", "sweeper")


@functools.cache
def interpreter() -> str:
    """Return ``python`` or ``python3`` if the shell finds this process's interpreter by it, otherwise its path."""
    # The links of a virtual environment lead out of it, so they are not followed.
    folder = Path(sys.executable).parent
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found is not None and Path(found).absolute().parent == folder:
            return name
    return sys.executable or "python"


def join(words: Iterable[str]) -> str:
    """Return words as one line of bash and zsh."""
    return " ".join(quote(word) for word in words)


def quote(word: str) -> str:
    r"""Return a word as bash and zsh read it. What a terminal or a page would not show as it is becomes an escape.

    >>> print(quote("a b"), quote("x==ls"), quote("it's"), quote("line\nline"), quote("two  spaces"))
    'a b' 'x==ls' 'it'"'"'s' $'line\x0aline' $'two \x20spaces'
    """
    if "  " in word or not word.isprintable():
        return f"$'{_ESCAPED.sub(_escape, word)}'"
    if _ZSH_COMMAND.search(word) and shlex.quote(word) == word:
        return f"'{word}'"
    return shlex.quote(word)


def path_word(path: Path) -> str:
    """Return a path as a word of a command line: none begins with a dash, which would make it an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def _escape(match: re.Match[str]) -> str:
    """Return a character's bytes as escapes, which no shell reads in its own locale; a printable one beyond ASCII stays."""
    character = match[0]
    if character.isprintable() and not character.isascii():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
