"""Which files of a trial its storage keeps for other hosts, and their texts: a job reads them, wherever it runs."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sweeper.run.folder import RunFolder
from sweeper.untrusted import read_text

MAX_BYTES: Final = 1_000_000
"""A longer file stays where it is."""
ELSEWHERE: Final = "elsewhere.txt"
"""In a restored folder, says where the other files are. In the table, the host and folder of all files."""


def saved_files(files: RunFolder) -> dict[str, Path]:
    """Return the files of a trial that are saved, by their names in the table."""
    paths = (files.config, files.overrides, files.metrics, files.result, files.mistakes)
    return {str(path.relative_to(files.path)): path for path in paths}


def read_texts(folder: Path) -> Mapping[str, str]:
    """Return the texts of a trial's small files by their names, with the host and folder of all; of a pruned one no result.

    Files of another application may have these names too: what is no text is left out.
    """
    texts = {name: _text(path) for name, path in saved_files(RunFolder(folder)).items()}
    where = f"weights and figures: {socket.gethostname()}:{folder.absolute()}\n"
    return {**{name: text for name, text in texts.items() if text is not None}, ELSEWHERE: where}


def _text(path: Path) -> str | None:
    try:
        text = read_text(path, MAX_BYTES)
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text else text  # PostgreSQL's texts have no zero byte
