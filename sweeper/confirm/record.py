"""The file `confirm.json`: its place, its content, and reading it with checks."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from sweeper.errors import RunFolderError
from sweeper.run.folder import write_atomically
from sweeper.study.folder import CONFIRM
from sweeper.untrusted import parse_json, read_text

REQUIRED: Final = ("name", "parameters", "epochs", "seeds", "test_accuracies", "mean", "ci95", "val_accuracy", "target")
"""Keys of a configuration that its readers rely on."""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """The result of a confirmation, as saved: key by key the content of `confirm.json`."""

    study: str | None
    """The study's name; None for runs."""
    command: str
    """The shell command that made it, and makes it again; without passwords."""
    updated: str
    """ISO time of the last change."""
    dataset: str
    test_openings: int
    """How often the test set was opened for this study, or for this confirmation of runs."""
    test_openings_in_all: int
    """How often it was opened according to the whole log."""
    comparison: dict[str, Any] | None
    """The best config against the second best; None if there is one config or one seed."""
    configurations: list[dict[str, Any]]
    """One record per config, the highest mean first; accuracies are fractions."""

    @property
    def best(self) -> dict[str, Any]:
        """The configuration with the highest mean."""
        return self.configurations[0]

    def write(self, folder: Path) -> None:
        """Write the file completely or not at all. Raises `RunFolderError` if that fails."""
        try:
            write_atomically(folder / CONFIRM, (json.dumps(asdict(self), indent=2) + "\n").encode())
        except OSError as error:
            raise RunFolderError(
                f"{folder / CONFIRM} cannot be written ({error.strerror}): make it writable"
            ) from error

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read a folder's confirmation; None if it has none. Raises `RunFolderError` if it is damaged."""
        path = folder / CONFIRM
        try:
            saved = parse_json(read_text(path))
            record = cls(**{field.name: saved[field.name] for field in fields(cls)})
            if not record.configurations or not all(set(REQUIRED) <= set(each) for each in record.configurations):
                raise ValueError("configurations are incomplete")  # noqa: TRY301 - reported like any other damage
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
            raise RunFolderError(
                f"{path} must hold a confirmation, but is damaged ({reason}): delete it, and "
                "confirm again: what was trained is reused"
            ) from error
        return record
