"""What was typed → a verb or Hydra; a failure we foresaw → one line on stderr and exit 1."""

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
"""Environment variable: set to 1, a failure shows its traceback."""
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it."""
PIPE_CLOSED: Final = 141
"""Exit status when the reader of our output is gone, as shells have it."""
VERBS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "bench": bench,
    "dashboard": dashboard,
    "inspect": inspect,
    "report": report,
    "reproduce": reproduce,
}
"""First words that are no override."""


def main() -> int:
    """Run what was typed; return the exit status."""
    arguments = sys.argv[1:]
    try:
        if arguments and arguments[0] in VERBS:
            return VERBS[arguments[0]](arguments[1:])
        run_hydra()
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
