"""The page of a run, with its report and images of its worst mistakes, and the page of several runs side by side."""

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.image

from sweeper.data.files import Part, read_files
from sweeper.errors import DataError
from sweeper.report.page import render
from sweeper.report.record import RunRecord, reproduce_command
from sweeper.report.run_command import differences
from sweeper.report.run_figures import confusion_figure, run_figures
from sweeper.report.run_report import format_value, make_report, nothing_found
from sweeper.statistics import CONFIDENCE_95, standard_error
from sweeper.terminal.network_table import LAYER_COLUMNS, layer_rows


def run_page(record: RunRecord) -> str:
    """Return a run's page as HTML. If its dataset is missing, the page has the reason in place of the images."""
    figures = run_figures([record], [record.folder.name])
    if record.mistakes is not None:
        figures.append(confusion_figure(record.mistakes, evaluated_on=record.evaluated_on))
    images, why_none = _worst_mistakes(record)
    report = make_report(record)
    return render(
        "run.html",
        kind="Run",
        title=str(record.folder),
        figures=figures,
        run=report,
        nothing_found=nothing_found(record),
        commands=[{"label": "try next", "text": report.next}, {"label": "run it again", "text": report.again}],
        layer_columns=LAYER_COLUMNS,
        layer_rows=layer_rows(record.design),
        images=images,
        no_images=why_none,
    )


def comparison_page(records: Sequence[RunRecord]) -> str:
    """Return the page of several runs as HTML: measurements, differing config keys, curves in the same plots."""
    names = _distinct([record.folder for record in records])
    differs = differences([record.conf for record in records])
    errors = [CONFIDENCE_95 * standard_error(record.value, record.images) for record in records]
    values = [record.value for record in records]
    apart = max(values) - min(values)
    noise = max(errors) * 2**0.5
    compared = "more than" if apart > noise else "no more than"
    return render(
        "comparison.html",
        kind="Comparison",
        title=f"{len(records)} runs",
        status=", ".join(names),
        figures=run_figures(records, names),
        names=names,
        measured=_measured(records),
        noise=f"The last accuracies differ by {apart * 100:.2f} points, {compared} the {noise * 100:.2f} points "
        "by which two measurements on that many images may differ by chance (95 %). Different seeds add to that.",
        differs=[(key, [format_value(value) for value in values]) for key, values in differs.items()],
        commands=[(name, reproduce_command(record.folder)) for name, record in zip(names, records, strict=True)],
    )


def _worst_mistakes(record: RunRecord) -> tuple[list[dict[str, Any]], str]:
    """Return the worst mistakes with their images as data URLs, or none and the reason."""
    if record.mistakes is None:
        return [], "The run did not reach its last epoch, so it saved no mistakes."
    if not record.mistakes.worst:
        return [], f"None: every {record.evaluated_on} image was classified correctly."
    try:
        # The run's config may be untrusted, so nothing is downloaded.
        part: Part = "test" if record.evaluated_on == "test" else "train"
        images_nhw = read_files(record.conf.data, part, download=False).images_nhw
        pixels_nhw = [images_nhw[mistake.index] for mistake in record.mistakes.worst]
    except (DataError, IndexError) as error:
        return [], f"The images cannot be shown: {error}."
    pictures = []
    for mistake, pixels_hw in zip(record.mistakes.worst, pixels_nhw, strict=True):
        png = io.BytesIO()
        matplotlib.image.imsave(png, pixels_hw, cmap="gray", vmin=0, vmax=255, format="png")
        source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
        pictures.append({**asdict(mistake), "source": source, "probability": f"{mistake.probability:.2%}"})
    return pictures, ""


def _measured(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return one row per measurement: its name and each run's value, the best one marked if better has a direction."""
    rows: list[tuple[str, str, bool | None, list[Any]]] = [
        ("last accuracy", ".2%", True, [record.value for record in records]),
        ("best accuracy", ".2%", True, [record.best.val_accuracy for record in records]),
        ("last loss", ".4f", False, [record.epochs[-1].val_loss for record in records]),
        ("training accuracy, dropout on", ".2%", None, [record.epochs[-1].train_accuracy for record in records]),
        (
            "training accuracy, dropout off",
            ".2%",
            None,
            [record.result and record.result.train_accuracy_eval for record in records],
        ),
        ("parameters", ",", False, [record.design.summary.parameters for record in records]),
        ("MACs", ",", False, [record.design.summary.macs for record in records]),
        ("epochs", "", None, [len(record.epochs) for record in records]),
        ("seconds", ".1f", None, [record.result and record.result.seconds for record in records]),
    ]
    table = []
    for name, form, more_is_better, values in rows:
        known = [value for value in values if value is not None]
        best = None
        if more_is_better is not None and len(set(known)) > 1:
            best = max(known) if more_is_better else min(known)
        cells = [{"text": "" if value is None else f"{value:{form}}", "best": value == best} for value in values]
        table.append({"name": name, "cells": cells})
    return table


def _distinct(folders: Sequence[Path]) -> list[str]:
    """Return the shortest distinct names for the folders: their last path parts, at least two if any is a number."""
    parts = [folder.absolute().parts for folder in folders]
    shortest = 2 if any(part[-1].isdigit() for part in parts) else 1
    for length in range(shortest, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
