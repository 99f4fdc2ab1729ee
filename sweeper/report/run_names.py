"""Decides the short, distinct names of runs that are compared: what their folders have in common is left out."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

LONG: Final = 24
"""Length above which what several names have in common is left out of them, too."""


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return a short name for each of the folders, which are distinct, in the same order.

    >>> short_names([Path("outputs/studies/a/0"), Path("outputs/studies/a/11")])
    ['trial 0', 'trial 11']
    >>> short_names([Path("/data/lab/wide/2026-01-01/10-00-00-000001"), Path("/data/lab/deep/2026-01-01/10-00-00-000001")])
    ['wide', 'deep']
    >>> short_names([Path("runs/2026-01-01/10-00-00-000001"), Path("runs/2026-01-01/10-07-00-000001")])
    ['10-00-00', '10-07-00']
    >>> short_names([Path("a-very-long-name-of-a-run-lr0.1-final"), Path("a-very-long-name-of-a-run-lr0.25-final")])
    ['lr0.1', 'lr0.25']
    >>> short_names([Path("a-very-long-name-of-a-run-seed-1"), Path("a-very-long-name-of-a-run-seed-2")])
    ['seed-1', 'seed-2']
    """
    parts = [list(folder.absolute().parts) for folder in folders]
    if len({len(part) for part in parts}) > 1:
        parts = [part[-_distinct_length(parts) :] for part in parts]
    while min(map(len, parts)) > 1 and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    # The number of a trial says more than the name of its study, so it is kept.
    while min(map(len, parts)) > 1 and len({part[-1] for part in parts}) == 1 and not parts[0][-1].isdigit():
        parts = [part[:-1] for part in parts]
    if len({len(part) for part in parts}) == 1:
        columns = [column for column in zip(*parts, strict=True) if len(set(column)) > 1 or column[0].isdigit()]
        parts = [list(part) for part in zip(*columns, strict=True)] or parts
    full = ["/".join(part) for part in parts]
    names = [re.sub(r"(?<=\d\d-\d\d-\d\d)-\d{6}(?!\d)", "", name) for name in full]
    names = _without_common_words(names if len(set(names)) == len(names) else full)
    return [f"trial {name}" if name.isdigit() else name for name in names]


def _distinct_length(parts: Sequence[Sequence[str]]) -> int:
    """Return how many of their last parts tell paths of different lengths apart."""
    longest = max(map(len, parts))
    return next(
        n for n in range(1, longest + 1) if len({tuple(part[-n:]) for part in parts}) == len(parts) or n == longest
    )


def _without_common_words(names: list[str]) -> list[str]:
    """Leave out the words with which all names begin or end, if the names are long."""
    if max(map(len, names)) <= LONG or len(names) < 2:
        return names
    start = _whole_words(_common_start(names))
    if not all(re.search(r"[A-Za-z]", name[len(start) :]) for name in names):
        start = _whole_words(start[:-1])  # one word more: a bare number says nothing
    rest = [name[len(start) :] for name in names]
    end = _whole_words(_common_start([name[::-1] for name in rest]))
    shorter = [name[: len(name) - len(end)] for name in rest]
    return shorter if all(shorter) else names


def _common_start(names: Sequence[str]) -> str:
    shortest = min(names, key=len)
    same = (len({name[at] for name in names}) == 1 for at in range(len(shortest)))
    return shortest[: next((at for at, is_same in enumerate(same) if not is_same), len(shortest))]


def _whole_words(text: str) -> str:
    """Cut a text back to its last separator."""
    return text[: max(text.rfind(separator) for separator in "-_/, ") + 1]
