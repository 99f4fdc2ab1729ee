"""The page of a run, with its report and images of its worst mistakes, and the page of several runs side by side."""

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import matplotlib.image

from sweeper.data.files import Part, read_files
from sweeper.data.openings import Opening
from sweeper.errors import DataError
from sweeper.report.comparison import compare
from sweeper.report.page import render
from sweeper.report.record import RunRecord, reproduce_command
from sweeper.report.run_figures import comparison_figures, confusion_figure, make_lines, run_figures
from sweeper.report.run_report import make_report, nothing_found
from sweeper.terminal.formats import percent
from sweeper.terminal.network_table import LAYER_COLUMNS, layer_rows


def run_page(record: RunRecord) -> str:
    """Return a run's page as HTML. If its dataset is missing, the page has the reason in place of the images."""
    figures = run_figures(record)
    if record.mistakes is not None:
        figures.append(confusion_figure(record.mistakes, evaluated_on=record.evaluated_on))
    images, why_none = _worst_mistakes(record)
    report = make_report(record)
    following = "train to the end" if record.result is None and not report.observations else "try next"
    return render(
        "run.html",
        kind="Run",
        title=str(record.folder),
        figures=figures,
        run=report,
        details=_unbroken(f"{report.sentence.details} {report.left_out}".strip()),
        nothing_found=nothing_found(record),
        commands=[{"label": following, "text": report.next}, {"label": "run it again", "text": report.again}],
        layer_columns=LAYER_COLUMNS,
        layer_rows=layer_rows(record.design),
        images=images,
        no_images=why_none,
    )


def comparison_page(records: Sequence[RunRecord]) -> str:
    """Return the page of several runs as HTML: which is best, what differs, curves in the same plots."""
    compared = compare(records)
    lines = make_lines(compared.records, compared.names, compared.leaders)
    return render(
        "comparison.html",
        kind="Comparison",
        title=f"{len(records)} runs",
        figures=comparison_figures(lines),
        compared=compared,
        details=_unbroken(compared.details),
        sentence=_unbroken(compared.sentence),
        lines=lines,
        side_by_side=compared.side_by_side,
        has_differences=any(field.is_key for field in compared.fields),
        commands=[(line.entry.name, reproduce_command(line.record.folder)) for line in lines],
    )


def _unbroken(text: str) -> str:
    """Return the text with no line break between a number and its percent sign."""
    return text.replace(" %", "\u00a0%")


def _worst_mistakes(record: RunRecord) -> tuple[list[dict[str, Any]], str]:
    """Return the worst mistakes with their images as data URLs, or none and the reason."""
    if record.mistakes is None:
        return [], "The run did not reach its last epoch, so it saved no mistakes."
    if not record.mistakes.worst:
        return [], f"None: every {record.evaluated_on} image was classified correctly."
    try:
        # The run's config may be untrusted, so nothing is downloaded.
        part: Part = "test" if record.evaluated_on == "test" else "train"
        opening = Opening(folder=record.folder)
        images_nhw = read_files(record.conf.data, part, download=False, opening=opening).images_nhw
        pixels_nhw = [images_nhw[mistake.index] for mistake in record.mistakes.worst]
    except (DataError, IndexError) as error:
        return [], f"The images cannot be shown: {error}."
    pictures = []
    for mistake, pixels_hw in zip(record.mistakes.worst, pixels_nhw, strict=True):
        png = io.BytesIO()
        matplotlib.image.imsave(png, pixels_hw, cmap="gray", vmin=0, vmax=255, format="png")
        source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
        pictures.append({**asdict(mistake), "source": source, "probability": percent(mistake.probability)})
    return pictures, ""
