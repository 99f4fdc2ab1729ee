"""One confirmation from its selection to `confirm.json`: refit every config and seed, then open the test set."""

from datetime import datetime

from sweeper.confirm.candidates import Selection
from sweeper.confirm.record import Confirmation
from sweeper.confirm.results import compare_best, configurations
from sweeper.data.openings import count_openings, without_passwords
from sweeper.errors import StudyError
from sweeper.replicates.replicate import make_replicates
from sweeper.replicates.runner import FailedReplicate, evaluate_replicates, locked, train_replicates


def confirm(
    selection: Selection, *, seeds: int, workers: int | None, command: str
) -> tuple[Confirmation, list[FailedReplicate]]:
    """Train each selected config with each fresh seed, evaluate all networks on the test set, and save the figures.

    The test set stays closed until all networks are trained. What was trained or evaluated before is reused. Return the
    record, and the runs that failed. `command` is the shell command that goes on after Ctrl-C.

    Raises the errors of `train_replicates`, and `StudyError` if every run failed.
    """
    configs = [candidate.refit for candidate in selection.candidates]
    runs = make_replicates(selection.replicates, configs, selection.seeds(seeds))
    Confirmation.read(selection.folder)  # a damaged one fails before anything is trained
    title = f"confirming {selection.name}"
    failures = train_replicates(selection.replicates, runs, title=title, command=command, workers=workers)
    trained = [run for run in runs if run.is_complete()]
    failures += evaluate_replicates(
        selection.replicates, trained, title="opening the test set", command=command, workers=workers
    )
    with locked(selection.replicates):  # from reading what another command has written to writing
        earlier = Confirmation.read(selection.folder)
        ranked = configurations(selection, runs, earlier.configurations if earlier else [])
        if not ranked:
            raise StudyError(f"a confirmation needs a complete run, but all {len(runs)} failed: {failures[0].reason}")
        dataset = selection.candidates[0].conf.data.name
        count = count_openings(selection.folder, dataset)
        record = Confirmation(
            study=selection.name if selection.study is not None else None,
            command=without_passwords(command),
            updated=datetime.now().astimezone().isoformat(timespec="seconds"),
            dataset=dataset,
            test_openings=count.own,
            test_openings_in_all=count.total,
            comparison=compare_best(selection, ranked),
            configurations=ranked,
        )
        record.write(selection.folder)
    return record, failures
