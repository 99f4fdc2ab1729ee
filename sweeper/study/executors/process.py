"""Starts child processes that ignore Ctrl-C: it reaches the whole process group; the coordinator handles it."""

import signal
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess


def start_ignoring_sigint(process: BaseProcess) -> None:
    """Start a process with SIGINT blocked from its first instruction on."""
    # Otherwise process.start() starts the tracker with the first process, and that unblocks the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
