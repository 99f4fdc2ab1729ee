"""What a slot's process runs. Light to import: it watches its parent before it loads anything that takes seconds."""

import os
import pickle
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Final

from sweeper.startup import loading

ORPHAN_CHECK_SECONDS: Final = 0.5
"""How often a worker looks whether its parent still lives."""


def work(connection: Connection, parent: int) -> None:
    """Run jobs as they come, until the parent is gone: first what they have in common, then one config after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    try:
        # Received and not handed to the process as it starts: of a large argument a child that is killed then reads only a
        # part, and its parent waits for the rest to be read, for ever.
        with loading():
            context, task, singletons = pickle.loads(connection.recv_bytes())  # noqa: S301 - our parent's own
            from hydra.core.singleton import Singleton  # noqa: PLC0415 - half a second
            from hydra.core.utils import setup_globals  # noqa: PLC0415

            from sweeper.study.executors.workers import as_message, run_here  # noqa: PLC0415 - torch: two seconds

        setup_globals()
        Singleton.set_state(singletons)
        while True:
            config = pickle.loads(connection.recv_bytes())  # noqa: S301 - likewise
            connection.send_bytes(as_message(run_here(context, task, config)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone


def _watch(parent: int) -> None:
    """Exit when the parent is gone: it may have been killed too hard to end its workers."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_SECONDS)
    os._exit(1)
