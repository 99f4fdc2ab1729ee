"""The process that a running trial belongs to, and whether that process may still be alive. Uses Linux's /proc."""

import os
import socket
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sweeper.study.attributes import OWNER

Owner = dict[str, Any]
"""The identity of a process: ``host``, ``pid`` and ``started``, its start time in the kernel's clock ticks."""


def identify_process() -> Owner:
    """Return the identity of this process."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_ticks(os.getpid())}


def may_be_alive(owner: Owner) -> bool:
    """Whether a process may still be alive. A process on another host cannot be checked and counts as alive."""
    if owner["host"] != socket.gethostname():
        return True
    return owner["started"] is not None and _start_ticks(owner["pid"]) == owner["started"]


def is_owned(trial: FrozenTrial) -> bool:
    """Whether the process that asked for a running trial may still be alive."""
    owner = trial.user_attrs.get(OWNER)
    return owner is not None and may_be_alive(owner)  # no owner: killed after asking, before setting the attribute


def _start_ticks(pid: int) -> str | None:
    """Return a process's start time, which tells it from a later process with the same id; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
