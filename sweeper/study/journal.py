"""A study's journal file: how a line is written and checked, and what a kill, a full disk or a power cut leaves of one.

Each line has its number and a checksum, so that no line is lost, and none is changed, without a word. Optuna ignores both.
Lines without them are an earlier version's, or another program's.
"""

import json
import os
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any, Final

from optuna.storages.journal import JournalFileBackend

from sweeper.errors import StudyError
from sweeper.study.attributes import whole
from sweeper.study.locks import exclusive
from sweeper.untrusted import parse_json, read_bytes

MAX_JOURNAL: Final = 2**32
"""The largest journal that is opened, bytes: a study of some three million trials."""
LINE, CHECKSUM = "line", "crc"
_BEFORE_CHECKSUM: Final = b',"crc":"'


class Journal(JournalFileBackend):
    """A journal file that waits for the disk when a trial changes its state, not at each of its values.

    Its lock is one that the kernel releases when the holder dies; Optuna's own stays locked for 30 s after a kill.

    A wait takes milliseconds, and Optuna's own backend waits once for each parameter and attribute of a trial. Readers
    see a line at once, and no killed process loses one; the machine's own crash loses what followed the last change.
    """

    def __init__(self, path: Path) -> None:
        self._lock_file = path.with_suffix(".lock")
        self._path = path
        self._size = self._lines = 0
        """Up to where the file's lines were counted, bytes, and how many there are."""
        super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append one line for each change, all of them or none. Raises `OSError`, and `StudyError` if the file is gone."""
        with exclusive(self._lock_file), self._opened() as file:
            self._count(file)
            content = b"".join(encode(log, self._lines + number) for number, log in enumerate(logs, 1))
            try:
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(self._size)  # a full disk took a part of it
                raise
            self._size, self._lines = self._size + len(content), self._lines + len(logs)
            if any("state" in log for log in logs):
                os.fsync(file.fileno())

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the changes from that number on. Raises `StudyError` if the file is gone."""
        try:
            yield from super().read_logs(log_number_from)
        except FileNotFoundError:
            raise self._gone() from None

    def _opened(self) -> IO[bytes]:
        """Open the file to append to it, but do not create it again: what was in it would be lost without a word."""
        try:
            return os.fdopen(os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC), "r+b", buffering=0)
        except FileNotFoundError:
            raise self._gone() from None

    def _gone(self) -> StudyError:
        return StudyError(
            f"a study's journal must stay while its search runs, but {self._path} was deleted, moved or replaced: restore it, "
            "then run the same command again"
        )

    def _count(self, file: IO[bytes]) -> None:
        """Count the lines that others have appended; cut off an incomplete one, whose writer was killed."""
        end = file.seek(0, os.SEEK_END)
        if end < self._size:
            raise self._gone()
        file.seek(self._size)
        new = file.read(end - self._size) if end > self._size else b""
        complete = new.rpartition(b"\n")
        self._lines += complete[0].count(b"\n") + len(complete[1])
        self._size += len(complete[0]) + len(complete[1])
        if self._size < end:
            file.truncate(self._size)


def encode(log: dict[str, Any], number: int) -> bytes:
    """Return a change as the line with this number, counted from 1."""
    text = json.dumps({**log, LINE: number}, separators=(",", ":")).encode()
    return b'%b%b%08x"}\n' % (text[:-1], _BEFORE_CHECKSUM, zlib.crc32(text))


class Decoder:
    """Decodes a journal's lines, one after another from the first on."""

    def __init__(self) -> None:
        self.number = 0
        """The number of the last line, counted from 1."""

    def decode(self, line: bytes) -> dict[str, Any]:
        """Return the change in the next line. Raises `ValueError`, with the reason, if it is damaged."""
        self.number += 1
        record = parse_json(line)
        if not isinstance(record, dict) or whole(record.get("op_code")) is None:
            raise ValueError("it is no record of a change")
        if LINE in record or CHECKSUM in record:
            text = line.rpartition(_BEFORE_CHECKSUM)[0] + b"}"
            if record.get(CHECKSUM) != f"{zlib.crc32(text):08x}":
                raise ValueError("its checksum is missing, or another one")
            if record.get(LINE) != self.number:
                raise ValueError(f"it was written as line {record.get(LINE)}, so lines are missing or were added")
        return record


def prepare(path: Path) -> None:
    """Cut off an incomplete last line, the trace of a kill or a power cut. Raises `StudyError` if another is damaged."""
    if not path.exists():
        return
    content = read_bytes(path, limit=MAX_JOURNAL)
    complete, newline, torn = content.rpartition(b"\n")
    lines = complete.split(b"\n") if newline else []
    decoder = Decoder()
    for line in lines:
        try:
            decoder.decode(line)
        except ValueError as error:
            raise StudyError(
                f"{damage(path, decoder.number, error, len(lines))}: restore it from a copy, or start a new study with another "
                "hydra.sweeper.study_name"
            ) from error
    if torn:
        with path.open("r+b") as file:
            file.truncate(len(complete) + len(newline))


def damage(path: Path, number: int, error: Exception, lines: int | None = None) -> str:
    """Return what is wrong with a line of a journal, the start of a message."""
    of = "" if lines is None else f" of {lines}"
    return f"{path} must hold one JSON record a line, but line {number}{of} is damaged ({_reason(error)})"


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "it is no JSON"
    return str(error).partition("\n")[0]
