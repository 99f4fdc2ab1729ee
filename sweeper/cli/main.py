"""Which command runs: the one the first argument names, else Hydra. An expected failure is one line and exit status 1."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from sweeper.cli.bench import bench
from sweeper.cli.dashboard import dashboard
from sweeper.cli.hydra_app import run_hydra
from sweeper.cli.inspect import inspect
from sweeper.cli.report import report
from sweeper.cli.reproduce import reproduce
from sweeper.errors import SweeperError

DEBUG: Final = "SWEEPER_DEBUG"
"""Environment variable: 1 shows the traceback of a failure."""
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C: 128 plus the number of SIGINT, as in shells."""
PIPE_CLOSED: Final = 141
"""Exit status if the reader of our output has closed the pipe: 128 plus the number of SIGPIPE, as in shells."""
COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "bench": bench,
    "dashboard": dashboard,
    "inspect": inspect,
    "report": report,
    "reproduce": reproduce,
}
"""The commands by name; any other first argument is an override or an option of Hydra's."""


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = sys.argv[1:]
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        run_hydra()
    except SweeperError as error:
        if os.environ.get(DEBUG) == "1":
            raise
        print(f"sweeper: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has gone, which is not an error; without this, the interpreter would flush into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
