"""Decides how an ablation reads: the cells of its table, its caption, and the Markdown file of both."""

import shlex

from sweeper.ablation.record import Ablation, VariantRecord
from sweeper.report.markdown import code, fenced, plain
from sweeper.terminal.formats import counted, percent

COLUMNS = ("variant", "parameters", "validation", "sd", "effect", "95 % interval", "")
"""The columns of the table; accuracies in percent, the others in points of it."""
DROPPED = ("sd", "parameters", "validation", "95 % interval")
"""The columns to leave out in a narrow terminal, the first to go first."""


def rows(record: Ablation) -> list[tuple[str, ...]]:
    """Return one row per variant, the base first, with a cell for each of `COLUMNS`."""
    base = record.variants[0]
    return [_row(variant, base, len(record.seeds)) for variant in record.variants]


def caption(record: Ablation) -> str:
    """Return what the table's figures are, in a few sentences."""
    count = len(record.variants) - 1
    about = (
        f"Validation accuracy on {counted(record.validation_images, 'image')} of {record.dataset} after "
        f"{counted(record.epochs, 'epoch')}, mean and standard deviation of {_seeds(record)}. "
        "The effect is the mean difference from the base with the same seed, in "
        "points, with Student's 95 % interval over the seeds: on these images, of these epochs, on this network. "
    )
    chance = "Variants with other parameters than the base are not compared at equal size. The test set stays closed."
    if count >= 10:
        chance += (
            f" Of {count} variants without any effect, {count / 20:.0f} would by chance be said to help or to hurt."
        )
    return about + chance


def missing(record: Ablation) -> str | None:
    """Return how many runs the table lacks, and how to train them; None for a complete ablation."""
    if not record.missing:
        return None
    total = len(record.seeds) * len(record.variants)
    return f"{record.missing} of {counted(total, 'run')} missing, train them"


def markdown(record: Ablation) -> str:
    """Return the table as a Markdown document with the command that makes it."""
    columns = [*COLUMNS[:-1], "finding"]
    alignment = ["---", *["---:"] * (len(COLUMNS) - 2), "---"]
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, alignment, *_markdown_rows(record))]
    lacking = missing(record)
    return "\n".join(
        [
            f"# Ablation of {code(shlex.join(record.base)) if record.base else 'the default config'}",
            "",
            *lines,
            "",
            plain(caption(record)),
            *(["", f"**{plain(lacking.partition(',')[0])}.**"] if lacking else []),
            "",
            fenced(record.command, "sh"),
            "",
        ]
    )


def _markdown_rows(record: Ablation) -> list[list[str]]:
    found = []
    for variant, cells in zip(record.variants, rows(record), strict=True):
        change = shlex.join(variant.overrides)
        is_named = change not in {"", variant.name}
        name = f"{plain(variant.name)}: {_code_in_cell(change)}" if is_named else _code_in_cell(variant.name)
        name += cells[0].removeprefix(variant.name)  # how many of its runs are complete
        found.append([name, *cells[1:]])
    return found


def _code_in_cell(text: str) -> str:
    return code(text).replace("|", r"\|")  # also in code, a bar would end the cell


def _seeds(record: Ablation) -> str:
    """Return how many seeds the figures are of; while runs are missing, how many there are so far."""
    total, counts = len(record.seeds), [len(variant.seeds) for variant in record.variants]
    if min(counts) == total:
        first, last = record.seeds[0], record.seeds[-1]
        is_range = last - first + 1 == total
        return f"{total} seeds ({f'{first} to {last}' if is_range else ', '.join(map(str, record.seeds))})"
    trained = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{max(counts)}"
    return f"{trained} of {total} seeds so far"


def _row(variant: VariantRecord, base: VariantRecord, seeds: int) -> tuple[str, ...]:
    more = variant.parameters - base.parameters
    parameters = f"{variant.parameters:,}" + (f" ({more:+,})" if more else "")
    lacking = f" ({len(variant.seeds)} of {seeds})" if len(variant.seeds) < seeds else ""
    return (
        variant.name + lacking,
        parameters,
        "" if variant.mean is None else percent(variant.mean),
        "" if variant.sd is None else f"{variant.sd * 100:.2f}",
        "" if variant.effect is None else f"{variant.effect * 100:+.2f}",
        "" if variant.ci95 is None else " to ".join(f"{bound * 100:+.2f}" for bound in variant.ci95),
        variant.finding or "",
    )
