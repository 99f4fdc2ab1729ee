"""Files are written whole or not at all."""

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sweeper.run.folder import atomic_write, write_atomically


def test_many_who_write_one_file_at_once_leave_one_of_their_texts(tmp_path: Path) -> None:
    """Two searches that end together write one page: none fails, the file is whole, nothing else is left."""
    path, texts = tmp_path / "report.html", [bytes([letter]) * 100_000 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(len(texts)) as pool:
        for written in [pool.submit(write_atomically, path, text) for text in 20 * texts]:
            written.result()
    assert path.read_bytes() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    """What fails half-way, as on a full disk, leaves the file of before and nothing beside it."""
    path = tmp_path / "model.pt"
    path.write_text("before")

    def fail_half_way() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail_half_way()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
