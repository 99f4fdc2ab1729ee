"""Which process a running trial belongs to, and whether that process can still be working on it."""

import os
import socket
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

Owner = dict[str, Any]
"""``host``, ``pid`` and ``started`` of a process, as a trial's user attribute keeps them."""
OWNER = "owner"
"""Key of that user attribute."""


def identify_process() -> Owner:
    """Return the identity of this process."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_ticks(os.getpid())}


def may_be_alive(owner: Owner) -> bool:
    """Whether a process may still be alive; nothing is known about those of other hosts, which count as alive."""
    if owner["host"] != socket.gethostname():
        return True
    return owner["started"] is not None and _start_ticks(owner["pid"]) == owner["started"]


def is_owned(trial: FrozenTrial) -> bool:
    """Whether the process that asked for a running trial may still be alive."""
    owner = trial.user_attrs.get(OWNER)
    return owner is not None and may_be_alive(owner)  # without one: killed between asking and signing


def _start_ticks(pid: int) -> str | None:
    """Return when a process started, in the kernel's clock ticks, which tells it from a later one with the same id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
