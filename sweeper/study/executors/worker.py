"""A worker process: it runs jobs until its parent is gone. It imports little before it starts to watch its parent."""

import importlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

from sweeper.startup import loading
from sweeper.study.executors.process import kill_descendants
from sweeper.study.waiting import while_waiting

if TYPE_CHECKING:
    from sweeper.study.executors.base import JobResult

ORPHAN_CHECK_SECONDS: Final = 0.5
"""Time between a job's checks that its coordinator is still alive."""
READY: Final = b"ready"
"""The first message: the worker has started, and its next job begins as soon as it is sent."""
NOTICE: Final = b"notice "
"""Start of a message that is no result, but a line to show: the job goes on."""
PART: Final = b"part "
"""Start of a message with a part of a result."""
RESULT: Final = b"result "
"""Start of a message with the last part of a result."""
PART_BYTES: Final = 8192
"""Length of a part: written at once, so that a worker that is stopped in the middle of a result leaves no half message, for
whose rest its coordinator would wait."""


def work(connection: Connection, parent: int) -> None:
    """Receive a function and Hydra's singletons; then call the function once for each job received."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    try:
        # Received, not passed as an argument: if a child is killed while it reads a large argument, its parent blocks
        # forever, writing to a pipe without a reader.
        run = unpack_shared(connection.recv_bytes())
        connection.send_bytes(READY)
        # That the server answers again, the results show.
        with while_waiting(lambda line: connection.send_bytes(NOTICE + line.encode()), lambda _: None):
            while True:
                job = pickle.loads(connection.recv_bytes())  # noqa: S301 - our parent's own
                _send_result(connection, pack_result(run(job)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone


def _send_result(connection: Connection, message: bytes) -> None:
    *parts, last = [message[start : start + PART_BYTES] for start in range(0, len(message), PART_BYTES)]
    for part in parts:
        connection.send_bytes(PART + part)
    connection.send_bytes(RESULT + last)


def unpack_shared(message: bytes) -> Callable[[Any], "JobResult"]:
    """Set this process's Hydra singletons, and return the function that runs a job: both are in the message.

    The modules that jobs need are imported, which takes seconds: a job's own time begins afterwards.
    """
    with loading():
        run, singletons, modules = pickle.loads(message)  # noqa: S301 - our coordinator's own
        from hydra.core.singleton import Singleton  # noqa: PLC0415 - half a second, with what follows
        from hydra.core.utils import setup_globals  # noqa: PLC0415

        for name in modules:
            importlib.import_module(name)
    setup_globals()
    Singleton.set_state(singletons)
    returned: Callable[[Any], JobResult] = run
    return returned


def pack_result(result: "JobResult") -> bytes:
    """Pickle a result for `unpack_result`, apart from Hydra's record of the job: this may hold any object."""
    import cloudpickle  # noqa: PLC0415 - half a second

    returned = None
    with suppress(Exception):  # an object's own pickling may raise anything
        returned = cloudpickle.dumps(result.returned)
    message: bytes = cloudpickle.dumps((replace(result, returned=None), returned))
    return message


def unpack_result(message: bytes) -> "JobResult":
    """Return the result in a message of `pack_result`; without Hydra's record if that cannot be pickled, or not be read here."""
    result: JobResult
    result, returned = pickle.loads(message)  # noqa: S301 - our own worker's
    if returned is not None:
        with suppress(Exception):  # the object's class may be on the worker's machine alone
            result = replace(result, returned=pickle.loads(returned))  # noqa: S301 - likewise
    return result


def _exit_with(parent: int) -> None:
    """End this process, with those that its job started, when its parent is gone: a killed parent cannot end its workers."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_SECONDS)
    kill_descendants(os.getpid())
    os._exit(1)
