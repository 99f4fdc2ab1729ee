"""A study's journal after a kill, a power cut, or a hand that went wrong: nothing is lost without a word."""

import json
import random
from pathlib import Path

import optuna
import pytest

from sweeper.errors import StudyError
from sweeper.study.journal import CHECKSUM, LINE, Journal
from sweeper.study.storage import journal_url, open_storage

from .studies import make_journal, storage_of


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The journal of a study of four finished trials."""
    monkeypatch.chdir(tmp_path)
    return (make_journal("one", (0.5, 0.9, 0.1, 0.7)) / "journal.log").absolute()


def _values(journal: Path, name: str = "one") -> list[float | None]:
    return [
        trial.value for trial in optuna.load_study(study_name=name, storage=open_storage(journal_url(journal))).trials
    ]


@pytest.mark.parametrize("tail", [b'{"op_code": 5, "wor', b"\0" * 4096, b"\xff\xfe\0garbage", b'{"op_code": 5}'])
def test_a_tail_that_a_kill_or_a_power_cut_left_is_cut_off(journal: Path, tail: bytes) -> None:
    """When the study is opened, and when another process appends to it: all whole lines stay."""
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    assert _values(journal) == [0.5, 0.9, 0.1, 0.7]
    assert journal.read_bytes() == whole
    study = optuna.load_study(study_name="one", storage=open_storage(journal_url(journal)))
    with journal.open("ab") as file:
        file.write(tail)  # a worker is killed as it writes
    study.tell(study.ask(), 0.3)
    assert _values(journal) == [0.5, 0.9, 0.1, 0.7, 0.3]


def test_a_line_that_is_missing_or_comes_twice_is_found(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever it is: the study is not opened, neither to go on nor to be shown, and one line names the place."""
    lines = journal.read_bytes().splitlines(keepends=True)
    for number in range(len(lines) - 1):
        for changed in ([*lines[:number], *lines[number + 1 :]], [*lines[: number + 1], *lines[number:]]):
            journal.write_bytes(b"".join(changed))
            with pytest.raises(
                StudyError, match=r"was written as line \d+, so lines are missing or were added\): rest"
            ):
                open_storage(journal_url(journal))
            warned: list[str] = []
            assert storage_of(warned).get_all_studies() == []
            assert len(warned) == 1
            assert (
                "lines are missing or were added): restore it from a copy, or move the study's folder away" in warned[0]
            )
    assert capsys.readouterr().err == ""


def test_any_change_in_the_middle_is_found(journal: Path) -> None:
    """Bytes that are cut out, overwritten or added: a value that reads well is not taken for another one."""
    whole = journal.read_bytes()
    end = whole[:-1].rindex(b"\n")
    dice = random.Random(1)  # noqa: S311 - which bytes
    for _ in range(300):
        start = dice.randrange(end)
        stop = min(end, start + dice.choice((1, 2, 40, 400)))
        put = dice.choice((b"", b"\0" * (stop - start), dice.randbytes(3), b"\n", b"7"))
        changed = whole[:start] + put + whole[stop:]
        journal.write_bytes(changed)
        if changed == whole:
            continue
        try:
            open_storage(journal_url(journal))
        except StudyError as error:
            assert "restore it from a copy" in str(error)  # noqa: PT017 - it may also be none
        else:  # it took a line's number and checksum away, to the byte
            assert any(b'"crc":' not in line for line in changed.splitlines())


def test_lines_without_a_number_are_an_earlier_versions(journal: Path) -> None:
    """They are read as they are, and lines with numbers follow; what does not fit together is one line as well."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    plain = [json.dumps({key: value for key, value in line.items() if key not in {LINE, CHECKSUM}}) for line in lines]
    journal.write_text("".join(f"{line}\n" for line in plain))
    study = optuna.load_study(study_name="one", storage=open_storage(journal_url(journal)))
    study.tell(study.ask(), 0.3)
    assert _values(journal) == [0.5, 0.9, 0.1, 0.7, 0.3]
    journal.write_text("".join(f"{line}\n" for line in [*plain, '{"op_code": 8, "trial_id": 1}']))
    with pytest.raises(StudyError, match="a line is missing or belongs to another one"):
        open_storage(journal_url(journal))


def test_a_damaged_study_hides_no_other(journal: Path) -> None:
    """The dashboard shows the others, and says once what is wrong with this one."""
    make_journal("two")
    journal.write_bytes(journal.read_bytes().replace(b"0.9", b"0.8"))
    warned: list[str] = []
    assert [study.study_name for study in storage_of(warned).get_all_studies()] == ["two"]
    assert len(warned) == 1
    assert "is damaged (its checksum is missing, or another one)" in warned[0]


def test_processes_that_share_a_journal_number_its_lines_in_turn(tmp_path: Path) -> None:
    """However they alternate. If the file is gone, or replaced by a shorter one, they say so and create none."""
    path = tmp_path / "journal.log"
    first, second = Journal(path), Journal(path)
    for each in (first, second, second, first, second):
        each.append_logs([{"op_code": 2}, {"op_code": 3}])
    assert [json.loads(line)[LINE] for line in path.read_text().splitlines()] == list(range(1, 11))
    path.write_bytes(b"")
    with pytest.raises(StudyError, match="was deleted, moved or replaced: restore it"):
        first.append_logs([{"op_code": 2}])
    path.unlink()
    for use in (lambda: second.append_logs([{"op_code": 2}]), lambda: list(second.read_logs(0))):
        with pytest.raises(StudyError, match="was deleted, moved or replaced: restore it"):
            use()
    assert not path.exists()
