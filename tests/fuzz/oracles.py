"""What is wrong with how a command line ended: a traceback, a hang, files left, no clear line, another meaning."""

import re
from collections.abc import Iterator
from typing import Final

from .meaning import other_meanings
from .running import Outcome

MAX_LINE: Final = 2000
"""Characters of an error."""
RAW: Final = re.compile(
    r"Traceback|LexerNo|no viable|mismatched input|extraneous|token recognition|Error merging|full_key|object_type|"
    r"<class|object at 0x|omegaconf|ConfigKeyError|Config(Attribute|Type)Error|_target_.*not found|See https|"
    r"Ambiguous value|Could not (?:override|find|append|delete)|NoneType|\(type dict\)|unhashable|not subscriptable|not iterable|Key .* is not in struct"
)
"""Wording of a library or of Python, which says nothing to a user."""
CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]")


def faults(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Each fault's kind and its details."""
    if outcome.raised == "time limit":
        yield "hang", f"after {outcome.seconds:.0f} s"
        return
    if outcome.raised:
        yield "traceback", outcome.raised.strip().splitlines()[-1]
        return
    if outcome.status == 1:
        yield from _of_error(outcome.err)
    elif outcome.status != 0:
        yield "status", str(outcome.status)
    elif outcome.err:
        yield "stderr without an error", outcome.err[:300]
    if outcome.changed and not (outcome.status == 0 and outcome.arguments[0] == "report"):
        yield "files left", ", ".join(outcome.changed[:5])
    if outcome.status == 0:
        yield from (("another meaning", each) for each in other_meanings(outcome))


def _of_error(err: str) -> Iterator[tuple[str, str]]:
    if re.fullmatch(r"sweeper: [^\n]+\n", err) is None:
        yield "not one line", repr(err[:300])
    elif len(err) > MAX_LINE:
        yield "long line", f"{len(err)} characters: {err[:200]}"
    elif CONTROL.search(err.rstrip("\n")):
        yield "control characters", repr(err[:300])
    elif RAW.search(err):
        yield "raw wording", err.strip()[:400]


def template(text: str) -> str:
    """An error without its values, to count kinds of errors."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", text)
    return re.sub(r"[\d.,]*\d", "#", text)[:90]
