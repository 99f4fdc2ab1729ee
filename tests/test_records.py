"""Records: what is saved as JSON is read back equal, and what does not fit is named."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import RunFolderError
from sweeper.records import DataRecord, EpochRecord, Mistake, Mistakes, RunResult, VersionsRecord
from sweeper.run.folder import RunFolder

NUMBER = st.floats(allow_nan=False)
RESULT = RunResult(
    value=0.9918,
    target=0.99,
    target_met=True,
    val_accuracy=0.9918,
    val_loss=0.0278,
    best_val_accuracy=0.9918,
    best_epoch=4,
    train_accuracy=0.9935,
    train_accuracy_eval=0.9957,
    train_loss_eval=0.0151,
    parameters=9848,
    macs=575604,
    epochs=4,
    seed=1,
    weights_sha256="0" * 64,
    versions=VersionsRecord(python="3.11", torch="2.14", sweeper="0.1", git_commit=None, git_dirty=None),
    device="cpu",
    precision="bf16",
    threads=1,
    data=DataRecord(
        name="mnist", sha256="1" * 64, train_images=55000, validation_images=5000, validation_is_test=False
    ),
    seconds=18.7,
)


def records(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any record of that class; JSON keeps every float but NaN."""
    hints = get_type_hints(kind)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    nested = {VersionsRecord, DataRecord}
    return st.builds(
        kind,
        **{
            name: records(hint) if hint in nested else NUMBER if hint is float else st.from_type(hint)
            for name, hint in fields.items()
        },
    )


def as_json(record: Any) -> dict[str, Any]:
    """What a file holds of a record, parsed."""
    saved: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(record)))
    return saved


def with_key(saved: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """The same with one dotted key set, or deleted for None."""
    first, _, rest = key.partition(".")
    if rest:
        return {**saved, first: with_key(saved[first], rest, value)}
    changed = {**saved, first: value}
    return changed if value is not None else {k: v for k, v in saved.items() if k != first}


@given(st.one_of(records(RunResult), records(EpochRecord), records(Mistake)))
def test_json_keeps_every_record(record: RunResult | EpochRecord | Mistake) -> None:
    """A record read from its JSON is equal to it, to the last bit of every number."""
    assert type(record).from_json(as_json(record)) == record


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    """Result, epochs and mistakes are read from a run's folder as they were written."""
    folder = RunFolder(tmp_path)
    epoch = EpochRecord.from_json(
        dict.fromkeys(("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "images_per_second"), 0.5)
        | {"epoch": 1, "seconds": 2}
    )
    mistakes = Mistakes(
        confusion=[[3, 1], [0, 4]],
        worst=[Mistake(index=7, label=0, predicted=1, probability=0.125)],
        wrong={7: 1},
    )
    folder.write_result(RESULT)
    folder.append_epoch(epoch)
    folder.write_mistakes(mistakes)
    assert folder.read_result() == RESULT
    assert folder.read_epochs() == (epoch,)
    assert folder.read_mistakes() == mistakes


def test_a_record_of_an_earlier_version_lacks_what_was_added() -> None:
    """A key that a later version added has a default: the measurement is not known, which is no damage."""
    saved = dict.fromkeys(("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"), 1)
    assert EpochRecord.from_json(saved | {"images_per_second": 1}).val_changed is None


def test_keys_of_later_versions_are_ignored() -> None:
    """A key that a later version adds, at the top or in a nested record, changes nothing."""
    saved = with_key(with_key(as_json(RESULT), "carbon", 1), "versions.numpy", "3")
    assert RunResult.from_json(saved) == RESULT


DAMAGE: dict[str, tuple[object, str]] = {
    "value": (None, "value is missing"),
    "seconds": (None, "seconds is missing"),
    "versions": (None, "versions is missing"),
    "versions.torch": (None, "versions.torch is missing"),
    "data.train_images": ("many", "data.train_images is a string, not an integer"),
    "target_met": (1, "target_met is an integer, not a boolean"),
    "epochs": (True, "epochs is a boolean, not an integer"),
    "val_loss": ([], "val_loss is an array, not a number"),
    "versions.git_commit": (5, "versions.git_commit is an integer, not a string or null"),
    "data": ([], "data is an array, not an object"),
}


@pytest.mark.parametrize("key", DAMAGE)
def test_what_does_not_fit_is_named(key: str, tmp_path: Path) -> None:
    """A missing key or one of another type is a ValueError with its dotted name; a folder gives one line with its file."""
    value, message = DAMAGE[key]
    saved = with_key(as_json(RESULT), key, value)
    with pytest.raises(ValueError, match=f"^{message}$"):
        RunResult.from_json(saved)
    folder = RunFolder(tmp_path)
    folder.result.write_text(json.dumps(saved))
    with pytest.raises(RunFolderError) as caught:
        folder.read_result()
    assert str(caught.value) == (
        f"{folder.result} must hold a run's result, but it is damaged ({message}): restore the file, or give another run"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '"text"', "null"])
def test_a_result_that_is_no_object_is_one_line(content: str, tmp_path: Path) -> None:
    """JSON of another kind, and what is not JSON, is refused in one line."""
    folder = RunFolder(tmp_path)
    folder.result.write_text(content)
    with pytest.raises(RunFolderError, match="must hold a run's result, but it is damaged") as caught:
        folder.read_result()
    assert "\n" not in str(caught.value)


def test_a_run_without_result_has_none(tmp_path: Path) -> None:
    """No result.json means that the run did not reach its last epoch, which is not an error."""
    assert RunFolder(tmp_path).read_result() is None
