"""How processes are started so that Ctrl-C, which reaches the whole process group, ends the coordinator alone."""

import signal
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess


def start_ignoring_sigint(process: BaseProcess) -> None:
    """Start a process with SIGINT blocked from its first instruction on."""
    # The first spawned process would start the tracker, and starting it unblocks the signal again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
