"""The command `ablate`: measures what each change of a config is worth, over several seeds, on validation images."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sweeper.cli.arguments import Parser, count
from sweeper.errors import RunFolderError, UsageError
from sweeper.shell import sweeper_command
from sweeper.terminal.console import display_path, make_console, print_command, print_prose

if TYPE_CHECKING:
    from sweeper.ablation.record import Ablation

SEEDS: Final = (2, 1000)
"""Fewest and most seeds: one seed says nothing of others."""
ABLATIONS: Final = "ablations"
"""Folder of all ablations, in outputs/."""
MARKDOWN: Final = "ablation.md"
USAGE: Final = """sweeper ablate [-h] [OVERRIDE ...]
                      --variants VARIANT [VARIANT ...]
                      [--seeds N] [--name NAME]
                      [--workers N] [--show]"""
"""The base comes first: after --variants, its overrides would be variants."""


def ablate(arguments: Sequence[str]) -> int:
    """Train the base and each variant with the same seeds, print and write the table; return 0, or 1 if a run failed.

    Raises the errors of `sweeper.ablation.variants.make_variants` and `sweeper.replicates.runner.train_replicates`.
    """
    options = _parser().parse_intermixed_args(arguments)
    from sweeper.ablation.kept import complete_runs, replicated  # noqa: PLC0415 - Hydra
    from sweeper.ablation.record import make_record, read_variants  # noqa: PLC0415 - likewise
    from sweeper.ablation.variants import folder_name, make_variants, to_argument  # noqa: PLC0415 - likewise
    from sweeper.replicates.replicate import check_complete, make_replicates  # noqa: PLC0415 - optuna
    from sweeper.replicates.runner import train_replicates  # noqa: PLC0415 - likewise
    from sweeper.run.folder import OUTPUTS  # noqa: PLC0415 - likewise

    variants = make_variants(options.overrides, options.variants)
    if len(variants) == 1:
        raise UsageError("an ablation needs a variant that differs from the base: give one after --variants")
    first = variants[0].conf.seed
    seeds = range(first, first + options.seeds)
    name = folder_name(options.name or " ".join(options.overrides) or "default")
    folder = OUTPUTS / ABLATIONS / name
    # Every variant's first seed comes first: an interruption leaves comparisons, not some variants.
    runs = make_replicates(folder, [replicated(variant) for variant in variants], seeds)
    command = sweeper_command("ablate", *(word for word in arguments if word != "--show"))

    def measured() -> "Ablation | None":
        """Read what is trained; None for nothing."""
        found = complete_runs(folder, variants, options.overrides)
        trained = {run.conf.seed for _, complete in found for run in complete}
        if not trained:
            return None
        kept = [to_argument(variant) for variant, _ in found[len(variants) :]]
        is_more = kept or not trained <= set(seeds)
        return make_record(
            [variant for variant, _ in found],
            [complete for _, complete in found],
            base=options.overrides,
            seeds=sorted(trained.union(seeds)),
            command=_wider(options, kept, trained.union(seeds), first=first, name=name) if is_more else command,
        )

    read_variants(folder)  # a damaged record fails before anything is trained
    try:
        check_complete(runs)
    except RunFolderError as error:
        raise RunFolderError(f"{error}; or give the variant another name, or the ablation with --name") from error
    if options.show:
        record = measured()
        if record is None:
            make_console().print(f"no run is complete in {display_path(folder)}/", soft_wrap=True)
            print_command(make_console(), "train", command)
        else:
            _show(record)
        return 0
    try:
        failures = train_replicates(folder, runs, title=f"ablation {name}", command=command, workers=options.workers)
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, and SIGTERM
        _conclude(folder, measured())
        raise
    _conclude(folder, measured())
    if failures:
        make_console().print(f"failed: {len(failures)} of {len(runs)} runs", soft_wrap=True)
        print_command(make_console(), "try again", command)
    return 1 if failures else 0


def _wider(options: argparse.Namespace, kept: Sequence[str], seeds: Collection[int], *, first: int, name: str) -> str:
    """Return the command that was typed, with the arguments of kept variants and at least these seeds.

    `first` is the first seed that was asked for, `name` that of the ablation.
    """
    base, low = options.overrides, min(seeds)
    if low != first:
        base = [*(word for word in base if not word.startswith("seed=")), f"seed={low}"]
    words = [*base, "--variants", *options.variants, *kept, "--seeds", str(max(seeds) - low + 1), "--name", name]
    workers = ["--workers", str(options.workers)] if options.workers else []
    return sweeper_command("ablate", *words, *workers)


def _conclude(folder: Path, record: "Ablation | None") -> None:
    """Write and print what was trained; nothing if no run is complete."""
    if record is None:
        return
    from sweeper.ablation.record import RECORD  # noqa: PLC0415 - Hydra
    from sweeper.report import ablation_table  # noqa: PLC0415 - after the training
    from sweeper.run.folder import write_atomically  # noqa: PLC0415 - likewise

    record.write(folder)
    write_atomically(folder / MARKDOWN, ablation_table.markdown(record).encode())
    _show(record)
    for label, file in (("table", MARKDOWN), ("record", RECORD)):
        make_console().print(f"{label}: {display_path(folder / file)}", soft_wrap=True)


def _show(record: "Ablation") -> None:
    """Print the table, its caption and what is missing."""
    from sweeper.report import ablation_table  # noqa: PLC0415 - as above
    from sweeper.terminal.result_table import result_table  # noqa: PLC0415 - likewise

    console, styles = make_console(), {"helps": "green", "hurts": "red"}
    columns, dropped = ablation_table.COLUMNS, ablation_table.DROPPED
    console.print()
    console.print(
        result_table(columns, ablation_table.rows(record), width=console.width, dropped=dropped, styles=styles)
    )
    print_prose(console, ablation_table.caption(record), "dim")
    lacking = ablation_table.missing(record)
    if lacking is not None:
        print_command(console, lacking, record.command)


def _parser() -> Parser:
    parser = Parser(
        prog="sweeper ablate",
        usage=USAGE,
        description="Train a base config and variants of it with the same seeds, and print what each variant is worth: "
        "its effect on validation accuracy with a 95 % interval. The test set stays closed. Run it again to resume it, "
        "or with other variants or more seeds: what is trained is reused, and stays in the table.",
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="the base, as for a run: model=deep ...")
    parser.add_argument(
        "--variants",
        nargs="+",
        required=True,
        metavar="VARIANT",
        help="what each variant adds to the base: overrides in one argument, separated by spaces, after NAME: or not; "
        "the name of an ingredient in conf/ingredients.yaml; or all, for each of these",
    )
    low, high = SEEDS
    parser.add_argument("--seeds", type=count(low, high), default=5, metavar="N", help="number of seeds, default 5")
    parser.add_argument("--name", help="name of its folder in outputs/ablations, default: the base's overrides")
    parser.add_argument("--workers", type=count(), metavar="N", help="runs at a time, default: one per core")
    parser.add_argument("--show", action="store_true", help="print the table of what is trained; train nothing")
    return parser
