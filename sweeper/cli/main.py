"""What was typed → Hydra or a verb; a failure we foresaw → one line on stderr and exit 1."""

import argparse
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sweeper.config.composition import CONFIG_NAME, HYDRA_ERRORS, compose, conf_dir, explain
from sweeper.config.schema import ExperimentConf, load
from sweeper.design import draw, draw_within_budget
from sweeper.errors import ConfigError, RunFolderError, SweeperError, TrainingDivergedError, UsageError
from sweeper.network.budget import check_budget
from sweeper.startup import loading
from sweeper.study.plugin import StudySweeper, is_trial
from sweeper.terminal import network_table as inspection
from sweeper.terminal.console import as_typed, make_console

DEBUG: Final = "SWEEPER_DEBUG"
"""Environment variable: set to 1, a failure shows its traceback."""
PROGRAM: Final = "sweeper"
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it."""
PIPE_CLOSED: Final = 141
"""Likewise when the reader of our output is gone."""
MAX_PORT: Final = 65535


class Parser(argparse.ArgumentParser):
    """A verb's arguments."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` where argparse prints its usage and exits."""
        raise UsageError(f"{message}: see python -m {self.prog} --help")


def main() -> int:
    """Run what was typed; return the exit status."""
    arguments = sys.argv[1:]
    try:
        if arguments and arguments[0] in VERBS:
            return VERBS[arguments[0]](arguments[1:])
        _run_hydra()
    except SweeperError as error:
        if os.environ.get(DEBUG) == "1":
            raise
        print(f"sweeper: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone, which is no error of ours; the exit must not flush into the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def inspect(arguments: Sequence[str]) -> int:
    """Show the network without data, weights or torch. Raises `BudgetError` after showing one over budget."""
    parser = Parser(
        prog="sweeper inspect", description="Show the network layer by layer: no data, no weights, no training."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("overrides", nargs="*", help="as for a run: model=gap model.dropout=0.05 ...")
    typed = parser.parse_intermixed_args(arguments)
    conf = compose(typed.overrides)
    design = draw(conf)
    if typed.json:
        print(inspection.as_json(conf, design))
    else:
        inspection.show(make_console(), conf, design)
    check_budget(conf.model, design.plan, design.anatomy, conf.budget)
    return 0


def reproduce(arguments: Sequence[str]) -> int:
    """Run a saved config again and compare. Return 0 for identical, 1 for different."""
    parser = Parser(
        prog="sweeper reproduce", description="Run a run's or trial's saved config again, in a new folder, and compare."
    )
    parser.add_argument("folder", type=Path, help="a folder below outputs/runs or outputs/studies")
    typed = parser.parse_args(arguments)
    from sweeper.report import run_report as write_up  # noqa: PLC0415
    from sweeper.run import reproduction  # noqa: PLC0415 - torch
    from sweeper.terminal.run_progress import Terminal  # noqa: PLC0415

    with Terminal() as terminal:
        comparison = reproduction.reproduce(typed.folder, [terminal])
    write_up.write(comparison.again)
    terminal.show_comparison(comparison)
    return 1 if comparison.differences else 0


def bench(arguments: Sequence[str]) -> int:
    """Measure this machine."""
    parser = Parser(
        prog="sweeper bench",
        description="Measure this machine: training beside the notebook's own loop, a run to its target, a sweep.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    parser.add_argument("--quick", action="store_true", help="fewer turns, no run to the target: about a minute")
    parser.add_argument("overrides", nargs="*", help="of the runs: data.root=... data=mnist5k ...")
    typed = parser.parse_intermixed_args(arguments)
    from sweeper.bench import report  # noqa: PLC0415 - torch

    console = make_console()
    measured = report.measure(typed.overrides, quick=typed.quick, console=console if not typed.json else None)
    if typed.json:
        print(measured.as_json())
    else:
        console.print(measured.tables())
    return 0


def report(arguments: Sequence[str]) -> int:
    """Write a page that opens offline."""
    parser = Parser(
        prog="sweeper report", description="Write one HTML page: of a study, of a run, or of several runs side by side."
    )
    parser.add_argument("what", nargs="+", metavar="STUDY|RUN", help="a study's name or folder, or runs' folders")
    parser.add_argument("--storage", metavar="URL", help="where the study is kept, if its folder does not say")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write it; else beside what it is about")
    typed = parser.parse_intermixed_args(arguments)
    from sweeper.report.build import publish  # noqa: PLC0415 - torch, plotly

    published = publish(typed.what, storage=typed.storage, out=typed.out)
    make_console().print(f"report: {published.path} · {published.about}", soft_wrap=True)
    return 0


def dashboard(arguments: Sequence[str]) -> int:
    """Serve optuna-dashboard until Ctrl-C, which is how it ends well."""
    parser = Parser(
        prog="sweeper dashboard", description="Look at studies in a browser on this machine. Changes nothing in them."
    )
    parser.add_argument("study", nargs="?", metavar="STUDY", help="a study's name or folder; all of outputs/studies")
    parser.add_argument(
        "--storage", metavar="URL", help="where the studies are kept; '${oc.env:STUDY_URL}' is looked up"
    )
    parser.add_argument("--port", type=_port, default=8080, metavar="N", help="8080; 0 is any that is free")
    typed = parser.parse_args(arguments)
    from sweeper.dashboard.serve import dashboard as serve  # noqa: PLC0415 - torch, optuna

    serve(typed.study, storage=typed.storage, port=typed.port)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be 0 to {MAX_PORT}, but got {text!r}")
    return int(text)


VERBS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "bench": bench,
    "dashboard": dashboard,
    "inspect": inspect,
    "report": report,
    "reproduce": reproduce,
}
"""First words that are no override."""


def _run_hydra() -> None:
    """Hand over to Hydra. What it refuses before a task starts becomes a `ConfigError`."""
    # Hydra prints an error and exits where we want the exception: this variable is its way to say so.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if sys.argv[0].endswith("__main__.py"):
        sys.argv[0] = PROGRAM  # what Hydra calls us in its usage and completion
    # Torch tells Hydra's log of its caches as the process ends: nobody asked.
    logging.getLogger("torch").setLevel(logging.WARNING)
    started = False
    failure: SweeperError | None = None

    def task(cfg: DictConfig) -> object:
        nonlocal started, failure
        started = True
        try:
            return _run(cfg)
        except SweeperError as error:
            # A sweeper has to see a job fail. A single run's error goes round Hydra, which would add a line to it.
            if HydraConfig.get().mode is not RunMode.RUN:
                raise
            failure = error
            return math.nan

    Plugins.instance().register(StudySweeper)
    # An empty whitelist: no config, ours or a stranger's, names code to be run.
    application = hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME, execution_whitelist=[])(task)
    try:
        with _page_of_the_study():
            application()
    except HYDRA_ERRORS as error:
        if started:
            raise
        raise explain(error) from error
    except OSError as error:
        if started or isinstance(error, BrokenPipeError):
            raise
        reason = error.strerror or str(error)
        raise RunFolderError(
            f"{error.filename} cannot be read or made ({reason}): name another with hydra.run.dir or hydra.sweep.dir"
        ) from error
    if failure is not None:
        raise failure


def _run(cfg: DictConfig) -> object:
    """Run one job in the folder Hydra made for it; return the last epoch's validation accuracy."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        _refuse_options_of_a_search(settings)
        conf = load(cfg)
        draw_within_budget(conf)  # before torch is loaded, which takes longer than to say what is wrong
        return (
            _run_trial(folder, conf, settings) if is_trial(settings) else _run_alone(as_typed(folder), conf, settings)
        )
    finally:
        _remove_if_empty(folder)


def _refuse_options_of_a_search(settings: HydraConf) -> None:
    """A search, or an option of one, that is given without -m would train the composed network alone, unasked."""
    if settings.mode is not RunMode.RUN:
        return
    preset = settings.runtime.choices.get("search")
    options = [
        line for line in settings.overrides.hydra if line.lstrip("+").startswith(("hydra.sweeper.", "hydra/sweeper"))
    ]
    given = [f"search={preset}"] if preset else options
    if given:
        raise ConfigError(f"{given[0]} is of a search, which -m begins: python -m sweeper -m {given[0]} ...")


def _run_trial(folder: Path, conf: ExperimentConf, settings: HydraConf) -> object:
    from sweeper.report import run_report as write_up  # noqa: PLC0415 - torch, matplotlib
    from sweeper.study.job import run_trial  # noqa: PLC0415 - torch, optuna

    try:
        value = run_trial(conf, folder, settings)
    except TrainingDivergedError:
        write_up.write_begun(folder)
        raise
    write_up.write(folder)
    return value


def _run_alone(folder: Path, conf: ExperimentConf, settings: HydraConf) -> object:
    with loading():
        from sweeper.run.experiment import run  # noqa: PLC0415 - torch: two seconds that --help and a typo need not wait
        from sweeper.terminal.run_progress import Terminal  # noqa: PLC0415

    with Terminal() as terminal:
        try:
            result = run(
                conf,
                folder=folder,
                listeners=[terminal],
                overrides=OmegaConf.to_yaml(OmegaConf.create(list(settings.overrides.task))),
                hydra=OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})),
            )
        except (TrainingDivergedError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt):
                terminal.show_interruption()
            from sweeper.report.run_report import write_begun  # noqa: PLC0415 - as below

            write_begun(folder)
            raise
    from sweeper.report.run_report import write  # noqa: PLC0415 - matplotlib: half a second that training need not wait

    terminal.show_result(result, next_command=write(folder).next)
    return result.value


@contextmanager
def _page_of_the_study() -> Iterator[None]:
    """Write the page of the study that is run meanwhile, if one is, to its end or not."""
    # What a page is drawn with takes a second or two to load: meanwhile trials train, and the end waits for nothing.
    loading = threading.Thread(target=_load_page)
    StudySweeper.last_run, StudySweeper.on_open = None, loading.start
    try:
        yield
    finally:
        opened = StudySweeper.last_run.opened if StudySweeper.last_run is not None else None
        if opened is not None:
            loading.join()
            from sweeper.report.study_page import write_study_page  # noqa: PLC0415 - plotly

            page = write_study_page(opened.study, folder=opened.folder, url=opened.url)
            make_console().print(f"report: {as_typed(page)}", soft_wrap=True)


def _load_page() -> None:
    from sweeper.report import study_page  # noqa: PLC0415 - plotly

    study_page.load()


def _remove_if_empty(folder: Path) -> None:
    """Hydra makes the folder before the config is checked: a refused run leaves neither it nor the day's above it."""
    outputs = Path.cwd() / "outputs"
    with suppress(OSError):
        folder.rmdir()
        for parent in folder.parents:
            if outputs not in parent.parents:
                break
            parent.rmdir()
