"""Values as they may be typed: those that a key takes, and hostile ones."""

from random import Random
from typing import Final

from .hostile import HOSTILE
from .vocabulary import NUMBERS, Key

SWEEPS: Final = {
    int: (
        "1,2",
        "1,1",
        "3,1,2",
        "range(1,4)",
        "choice(2,4)",
        "interval(1,8)",
        "tag(log,interval(1,8))",
        "shuffle(1,2)",
    ),
    float: (
        "0.01,0.1",
        "choice(0.1,0.2)",
        "interval(0.01,0.5)",
        "tag(log,interval(0.01,0.5))",
        "range(0.1,0.5,0.2)",
        "0.1",
    ),
    bool: ("true,false", "choice(true,false)", "true"),
}
"""Sweeps that suit a type."""


def accepted(random: Random, key: Key) -> str:
    """A value that the key's type takes; its bounds may refuse it where other values are not the default."""
    kind = random.choice(key.kinds)
    numbers = NUMBERS.get(key.name.rpartition(".")[2])
    if kind in {int, float} and numbers:
        return f"{random.choice(numbers):g}" if kind is float else str(int(random.choice(numbers)))
    if kind is int:
        return str(random.randint(1, 24))
    if kind is float:
        return f"{random.random():.3g}"
    if kind is bool:
        return random.choice(("true", "false"))
    if kind is type(None):
        return "null"
    if kind is str:
        return random.choice(("auto", "name", "a-b_c"))
    if isinstance(kind, str):
        return kind
    return f"[{','.join(str(random.randint(2, 12)) for _ in range(random.randint(1, 4)))}]"


def swept(random: Random, key: Key) -> str:
    """A sweep that suits the key's type."""
    names = [kind for kind in key.kinds if isinstance(kind, str)]
    if names and random.random() < 0.8:
        return ",".join(random.choices(names, k=random.randint(2, 3)))
    kinds = [kind for kind in key.kinds if isinstance(kind, type) and kind in SWEEPS]
    if kinds and random.random() < 0.9:
        return random.choice(SWEEPS[random.choice(kinds)])
    return ",".join(accepted(random, key) for _ in range(random.randint(2, 3)))


def hostile(random: Random) -> str:
    """A value from the corners, or two of them put together."""
    one = random.choice(random.choice(HOSTILE))
    match random.randrange(12):
        case 0:
            return f"{one},{random.choice(random.choice(HOSTILE))}"
        case 1:
            return f"[{one}]"
        case 2:
            return f"choice({one},{random.choice(random.choice(HOSTILE))})"
        case 3:
            return f"'{one}'"
        case 4:
            return f"{{a:{one}}}"
    return one


def mistyped(random: Random, text: str) -> str:
    """The text with one letter lost, doubled, replaced or swapped with the next."""
    if len(text) < 3:
        return text + "x"
    at = random.randrange(1, len(text) - 1)
    match random.randrange(4):
        case 0:
            return text[:at] + text[at + 1 :]
        case 1:
            return text[:at] + text[at] + text[at:]
        case 2:
            return text[:at] + random.choice("aeiou._/@") + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
