"""Decides which configs are composed: those of conf/ alone, or others, which Hydra's options ``--config-...`` name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from sweeper.errors import CompositionError
from sweeper.shell import path_word

CONFIG_NAME: Final = "config"
"""The config that is composed unless another is named."""
OPTIONS: Final = {"--config-dir": "-cd", "--config-path": "-cp", "--config-name": "-cn"}
"""Hydra's options that choose a config, with their short forms."""
OUTPUTS: Final = "outputs"
"""The name of the folder of all runs and studies."""
PACKAGE: Final = "pkg://"
"""Start of a folder of configs inside a Python package."""


def conf_dir() -> Path:
    """Return the absolute path of conf/: inside the installed package or, in a checkout, next to the package."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a config is composed from, beside conf/ or in its place. A field is None if its option is not given."""

    config_dir: str | None = None
    """A folder of further configs."""
    config_path: str | None = None
    """The folder in place of conf/: absolute, or ``pkg://`` and a package."""
    config_name: str | None = None
    """The config in place of `CONFIG_NAME`."""

    @classmethod
    def saved(cls, settings: Any, folder: Path | None) -> Self | None:
        """Return the origin that Hydra's saved settings tell, the content below ``hydra``; None if they do not.

        They are in the files of `folder`, which may be a stranger's. So a package is none, which is code; nor is a folder beside
        them, or a name that leads out of the folders of configs. Folders may be of another machine: see `here`.
        """
        try:
            sources = {str(source["provider"]): source for source in reversed(settings["runtime"]["config_sources"])}
            given = {name: (str(source["schema"]), str(source["path"])) for name, source in sources.items()}
            config_name = str(settings["job"]["config_name"])
        except (KeyError, TypeError):
            return None
        found = {name: given[name] for name in ("main", "command-line") if name in given}
        if any(schema != "file" or _is_inside(path, folder) for schema, path in found.values()):
            return None
        if re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", config_name) is None:
            return None
        paths = {name: path for name, (_, path) in found.items()}
        return cls(
            config_dir=paths.get("command-line"),
            config_path=None if paths.get("main") == str(conf_dir()) else paths.get("main"),
            config_name=None if config_name == CONFIG_NAME else config_name,
        )

    @classmethod
    def typed(cls, arguments: Sequence[str]) -> Self:
        """Return the origin that a command line of Hydra names: the last value of each option, whole or shortened."""
        given: dict[str, str] = {}
        for position, word in enumerate(arguments):
            option, is_whole, value = word.partition("=")
            found = [name for name, short in OPTIONS.items() if option == short or _shortens(option, name)]
            if len(found) == 1 and (is_whole or position + 1 < len(arguments)):
                given[found[0].removeprefix("--").replace("-", "_")] = value if is_whole else arguments[position + 1]
        return cls(**given)

    def checked(self) -> Self:
        """Return it with absolute folders. Raises `CompositionError` for a folder that does not exist."""
        for option, path in (("--config-dir", self.config_dir), ("--config-path", self.config_path)):
            if path is not None and not _is_here(path):
                raise CompositionError(
                    f"{option} must be a folder of configs, but {path} is no folder: correct the path"
                )
        return replace(self, config_dir=_absolute(self.config_dir), config_path=_absolute(self.config_path))

    def here(self) -> Self:
        """Return it without folders that this machine lacks: a command that named one would fail."""
        kept = [path if path is not None and _is_here(path) else None for path in (self.config_dir, self.config_path)]
        return replace(self, config_dir=kept[0], config_path=kept[1])

    @property
    def options(self) -> list[str]:
        """Hydra's options that name it, as words of a command line; a folder below the working directory is relative.

        Hydra itself would take a relative ``--config-path`` as relative to the program, so this one is absolute.
        """
        words = []
        if self.config_path is not None:
            words += ["--config-path", self.config_path]
        if self.config_name is not None:
            words += ["--config-name", self.config_name]
        if self.config_dir is not None:
            path = Path(self.config_dir).absolute()
            words += ["--config-dir", path_word(path.relative_to(Path.cwd()) if Path.cwd() in path.parents else path)]
        return words


def _shortens(option: str, name: str) -> bool:
    """Whether argparse takes an option for another, whose first characters it is."""
    return option.startswith("--c") and name.startswith(option)


def _is_inside(path: str, folder: Path | None) -> bool:
    """Whether a path is beside what a run or study saved: in the folder outputs that holds it, or else in its own."""
    if folder is None:
        return False
    own = folder.parent if re.fullmatch(r"\d+|best", folder.name) else folder
    root = next((parent for parent in folder.absolute().parents if parent.name == OUTPUTS), own).resolve()
    return root in [Path(path).resolve(), *Path(path).resolve().parents]


def _is_here(path: str) -> bool:
    return path.startswith(PACKAGE) or Path(path).is_dir()


def _absolute(path: str | None) -> str | None:
    return path if path is None or path.startswith(PACKAGE) else str(Path(path).absolute())
