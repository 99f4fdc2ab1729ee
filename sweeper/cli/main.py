"""The entry point: runs the command that the first argument names, else Hydra, and returns an exit status."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Final

from sweeper.cli.ablate import ablate
from sweeper.cli.bench import bench
from sweeper.cli.confirm import confirm
from sweeper.cli.dashboard import dashboard
from sweeper.cli.hydra_app import run_hydra
from sweeper.cli.hydra_private import config_files_checked
from sweeper.cli.inspect import inspect
from sweeper.cli.job import Train
from sweeper.cli.report import report
from sweeper.cli.reproduce import reproduce
from sweeper.cli.resume import resume
from sweeper.config.explaining import nearest
from sweeper.disk import disk_error
from sweeper.errors import SweeperError, UsageError
from sweeper.untrusted import printable
from sweeper.version import __version__

DEBUG: Final = "SWEEPER_DEBUG"
"""Environment variable: 1 shows the traceback of a failure."""
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C: 128 plus the number of SIGINT, as in shells."""
PIPE_CLOSED: Final = 141
"""Exit status if the reader of our output closed the pipe: 128 plus the number of SIGPIPE, as in shells."""
SHOWN: Final = 800
"""Characters that are shown of either end of an error: its rule, and its fix. Values of any length may be between them."""
COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "ablate": ablate,
    "bench": bench,
    "confirm": confirm,
    "dashboard": dashboard,
    "inspect": inspect,
    "report": report,
    "reproduce": reproduce,
    "resume": resume,
}
"""The commands by name. Any other first argument is an override or a Hydra option."""


def main(train: Train | None = None) -> int:
    """Run the command line; return the exit status. An expected failure is one line on stderr and status 1.

    `train` is what is done with an accepted config, see `run_job`.
    """
    try:
        with config_files_checked(sys.argv[1:]):
            return _run(sys.argv[1:], train)
    except BrokenPipeError:
        # The reader, such as `head`, has stopped, which is no error. The flush of stdout at exit goes to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        failure = error if isinstance(error, SweeperError) else disk_error(error)
        if failure is None or os.environ.get(DEBUG) == "1":
            raise
        print(f"sweeper: {_one_line(str(failure))}", file=sys.stderr)
        return 1


def _run(arguments: Sequence[str], train: Train | None) -> int:
    """Run the command that the first argument names, else Hydra."""
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    if arguments and arguments[0] == "--version":
        print(f"sweeper {__version__}")
        return 0
    if arguments and re.fullmatch(r"\w+", arguments[0]):
        commands = list(COMMANDS)
        raise UsageError(
            f"there is no command {arguments[0]!r}{nearest(arguments[0], commands)}: the commands are "
            f"{', '.join(commands)}, and an override is key=value"
        )
    run_hydra(train)
    return 0


def _one_line(text: str) -> str:
    """Return an error as one line that a terminal shows as it is; of a very long one, its beginning and its end."""
    line = printable(" ".join(text.splitlines())).encode(errors="replace").decode()  # a byte that is no UTF-8 is a ?
    if len(line) <= 2 * SHOWN:
        return line
    return f"{line[:SHOWN]} ... {line[-SHOWN:]}"
