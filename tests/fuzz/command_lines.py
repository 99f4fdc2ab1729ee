"""Draws command lines: single runs, sweeps, searches and commands; most of them nearly right, the rest hostile."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from .texts import accepted, hostile, mistyped, swept
from .vocabulary import CHOICES, Key, groups, keys, options_of, presets, study_keys

VERBS: Final = ("ablate", "bench", "confirm", "dashboard", "inspect", "report", "reproduce", "resume")
NAMES: Final = (
    *(
        "NOPE",
        "own",
        "ow",
        "onw",
        "own/0",
        "outputs/studies/own",
        "outputs/studies/own/0",
        "outputs/studies/onw",
        "outputs",
    ),
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "/dev/null",
        "/dev/zero",
        "x" * 300,
        "x/" * 2000,
        "é",
        "a\nb",
        "\x1b[31m",
        "-",
        "--",
        "*",
        "'",
        "~",
    ),
    *("outputs/runs/one", "outputs/runs/on", "outputs/studies/own/journal.log", "outputs/studies/own/best", "file.txt"),
)
STORAGES: Final = (
    *("", " ", "x", "sqlite:///", "sqlite:///nope.db", "sqlite:///nope/nope.db", "sqlite:///file.txt", "journal:///x"),
    *(
        "${oc.env:NOPE}",
        "${nope}",
        "${",
        "mysql://a:secret@h/d",
        "postgresql://a:secret@127.0.0.1:1/d",
        "http://x",
        "://",
        "\x1b",
    ),
)
FLAGS: Final = (
    *(
        ["--help"],
        ["--hydra-help"],
        ["--version"],
        ["--cfg", "job"],
        ["--cfg", "all"],
        ["--cfg", "nope"],
        ["--cfg"],
        ["--nope"],
    ),
    *(
        ["--info"],
        ["--info", "plugins"],
        ["--info", "nope"],
        ["--resolve"],
        ["--cfg", "job", "--resolve"],
        ["-c"],
        ["-h"],
    ),
    *(
        ["--package", "model"],
        ["--cfg", "job", "--package", "nope"],
        ["--config-name", "nope"],
        ["--config-name", "model/gap"],
    ),
    *(
        ["--config-dir", "nope"],
        ["--config-dir", "outputs"],
        ["--config-path", "nope"],
        ["--config-path", "/"],
        ["-cd"],
        ["-r"],
    ),
    *(
        ["--experimental-rerun", "nope.pickle"],
        ["--config-name", ""],
        ["--config-dir", ""],
        ["--", "seed=2"],
        ["-m"],
        ["-mm"],
    ),
)


@dataclass(frozen=True)
class CommandLine:
    """One command line."""

    seed: int
    number: int
    """With the seed it makes the same line again."""
    arguments: tuple[str, ...]

    @property
    def is_sweep(self) -> bool:
        """Whether it starts a sweep."""
        return bool({"-m", "--multirun"} & set(self.arguments)) and self.arguments[0] not in VERBS


def command_lines(seed: int, count: int) -> Iterator[CommandLine]:
    """The first so many lines of a seed."""
    return (command_line(seed, number) for number in range(count))


def command_line(seed: int, number: int) -> CommandLine:
    """One line; it depends on the seed and its number alone."""
    return CommandLine(seed, number, tuple(_Line(Random(f"{seed}:{number}")).words()))


class _Line:
    """One line while it is drawn."""

    def __init__(self, random: Random) -> None:
        self.random = random
        # Most lines are about one config, so that its keys exist.
        chosen = {
            group: self.random.choice(options) for group, options in CHOICES.items() if self.random.random() < 0.3
        }
        self.choices = [f"{group}={option}" for group, option in chosen.items()]
        self.calm = self.random.random() < 0.4
        """Whether all that is drawn suits its key."""

    def words(self) -> list[str]:
        share = self.random.random()
        if share < 0.45:
            return [*self.choices, *self._run()]
        if share < 0.85:
            return self._sweep()
        return self._verb()

    def _run(self) -> list[str]:
        words = [self._override() for _ in range(self.random.choice((1, 1, 1, 2, 2, 3, 5)))]
        if self.random.random() < 0.04:
            words += self.random.choice(FLAGS)
        if self.random.random() < 0.1:
            words.append(self.random.choice(words))  # given twice
        if self.random.random() < 0.04:
            words.append(self._study_option())
        return words

    def _sweep(self) -> list[str]:
        words = ["-m", *self.choices]
        if self.random.random() < 0.45:
            preset = self.random.choice(presets())
            words.append(f"search={mistyped(self.random, preset) if self.random.random() < 0.05 else preset}")
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            key = self._key()
            value = swept(self.random, key) if self.calm or self.random.random() < 0.8 else hostile(self.random)
            words.append(f"{self._prefix()}{key.name}={value}")
        words += [self._override() for _ in range(self.random.choice((0, 0, 1, 2)))]
        words += [self._study_option() for _ in range(self.random.choice((0, 0, 1, 1, 2, 3)))]
        if self.random.random() < 0.15:
            group = self.random.choice(list(groups()))
            words.append(f"{group}={self.random.choice((','.join(options_of(group)[:3]), 'glob(*)'))}")
        if self.random.random() < 0.05:
            words.append(self.random.choice(words[1:] or ["seed=1,2"]))
        return words

    def _verb(self) -> list[str]:
        verb = self.random.choice(VERBS)
        if self.random.random() < 0.03:
            return [mistyped(self.random, verb)]
        if verb == "inspect":
            words = [self._override() for _ in range(self.random.choice((0, 1, 1, 2, 3)))]
            return [verb, *self.choices, *words, *(["--json"] if self.random.random() < 0.3 else [])]
        if verb in {"bench", "ablate"}:  # both train, so only what ends before that
            return [
                verb,
                self.random.choice(
                    ("--help", "--nope", "--seeds", "--variants", "--seeds=0", "--quick=1", "-x", "--show")
                ),
            ]
        words = [verb, *(self.random.choice(NAMES) for _ in range(self.random.choice((0, 1, 1, 1, 2))))]
        if verb == "dashboard" and not {"NOPE", "onw", ""} & set(words):
            words.append("--help")  # it would serve
        if self.random.random() < 0.3:
            words += ["--storage", self.random.choice(STORAGES)]
        if self.random.random() < 0.2:
            words += self.random.choice(
                (["--help"], ["--nope"], ["--top", "0"], ["--seeds", "x"], ["--port", "99999"], ["--out", "/"])
            )
        if self.random.random() < 0.1:
            words.append(hostile(self.random))
        return words

    def _key(self) -> Key:
        return self.random.choice(keys(*self.choices))

    def _prefix(self) -> str:
        if self.calm:
            return ""
        return self.random.choices(("", "+", "++", "~"), weights=(88, 4, 5, 3))[0]

    def _override(self) -> str:
        """An override: a key or a group with a value that suits it, does not suit it, or is hostile."""
        if self.calm:
            key = self._key()
            return f"{key.name}={accepted(self.random, key)}"
        match self.random.choices(range(7), weights=(34, 22, 14, 8, 10, 7, 5))[0]:
            case 0:
                key = self._key()
                return f"{self._prefix()}{key.name}={accepted(self.random, key)}"
            case 1:
                return f"{self._prefix()}{self._key().name}={hostile(self.random)}"
            case 2:
                return self._choice()
            case 3:
                name = mistyped(self.random, self._key().name)
                return f"{self._prefix()}{name}={accepted(self.random, Key(name, (int,)))}"
            case 4:
                return f"{self._key().name}={accepted(self.random, self._key())}"
            case 5:
                parent = self.random.choice([key.name.rpartition(".")[0] or key.name for key in keys(*self.choices)])
                return f"{self._prefix()}{parent}{self.random.choice(('=', '.new=', '', '.0=', '@x=', '.='))}{hostile(self.random)}"
        return hostile(self.random)

    def _choice(self) -> str:
        """An option of a config group, perhaps in a place of the config."""
        group = self.random.choice([name for name in groups() if not name.startswith("hydra")])
        option = self.random.choice(options_of(group))
        if self.random.random() < 0.15:
            option = self.random.choice(
                (mistyped(self.random, option), "", "null", "nope", "[a]", "../model/gap", option + ".yaml", "a,b")
            )
        place = ""
        if group in {"group", "head"} or self.random.random() < 0.08:
            places = (
                "model.head",
                "model.groups.block1",
                "model.groups.new",
                "model.groups.block1.x",
                "",
                "_global_",
                "a.b",
                "x:y",
            )
            place = f"@{self.random.choice(places)}"
        name = mistyped(self.random, group) if self.random.random() < 0.05 else group
        return f"{self._prefix()}{name}{place}={option}"

    def _study_option(self) -> str:
        """An option of a search, of its sampler or pruner, or of Hydra."""
        if self.random.random() < 0.3:
            group = self.random.choice([name for name in groups() if name.startswith("hydra")])
            option = self.random.choice(options_of(group))
            name = mistyped(self.random, group) if self.random.random() < 0.15 else group
            return f"{name}={mistyped(self.random, option) if self.random.random() < 0.1 else option}"
        key = self.random.choice(study_keys())
        name = mistyped(self.random, key.name) if self.random.random() < 0.15 else key.name
        value = accepted(self.random, key) if self.random.random() < 0.7 else hostile(self.random)
        return f"{self.random.choices(('', '+', '++'), weights=(85, 10, 5))[0]}{name}={value}"
