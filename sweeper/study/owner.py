"""The process that a running trial belongs to, and whether it is alive, where this process can tell. Uses Linux's /proc."""

import functools
import os
import socket
import uuid
from pathlib import Path
from typing import Any, Final

from optuna.trial import FrozenTrial

from sweeper.study.attributes import OWNER

Owner = dict[str, Any]
"""The identity of a process: ``process``, a UUID; ``host``, ``pid`` and ``started``, its start time in the kernel's clock
ticks; ``machine``, the boot and the process namespace in which its ``pid`` means anything."""
_PROCESS: Final = str(uuid.uuid4())


def identify_process() -> Owner:
    """Return the identity of this process."""
    pid = os.getpid()
    return {
        "process": f"{_PROCESS}-{pid}",  # a fork has this module's UUID too
        "host": socket.gethostname(),
        "pid": pid,
        "started": _start_ticks(pid),
        "machine": _machine(),
    }


def is_alive(owner: Owner) -> bool | None:
    """Whether a process is alive; None if it runs on another machine or in another container, which cannot be checked.

    Containers may have equal host names and process ids, so these say nothing. An owner without ``machine`` was saved by
    an earlier version, which only compared host names.
    """
    is_here = owner["machine"] == _machine() if "machine" in owner else owner["host"] == socket.gethostname()
    if not is_here:
        return None
    return owner["started"] is not None and _start_ticks(owner["pid"]) == owner["started"]


def may_be_alive(owner: Owner) -> bool:
    """Whether a process may still be alive: one that cannot be checked counts as alive."""
    return is_alive(owner) is not False


def is_owned(trial: FrozenTrial) -> bool:
    """Whether the process that asked for a running trial may still be alive."""
    owner = trial.user_attrs.get(OWNER)
    return owner is not None and may_be_alive(owner)  # no owner: killed after asking, before setting the attribute


@functools.cache
def _machine() -> str:
    """Return the boot's id and the process namespace; a kernel without namespaces has only the first."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _start_ticks(pid: int) -> str | None:
    """Return a process's start time, which tells it from a later process with the same id; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
