"""The process that a running trial belongs to, and whether it is alive, where this process can tell. Uses Linux's /proc."""

import functools
import os
import re
import socket
import uuid
from collections.abc import Mapping
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
    is_here = owner["machine"] == _machine() if "machine" in owner else owner.get("host") == socket.gethostname()
    if not is_here:
        return None
    return owner["started"] is not None and _start_ticks(owner["pid"]) == owner["started"]


def may_be_alive(owner: Owner) -> bool:
    """Whether a process may still be alive: one that cannot be checked counts as alive."""
    return is_alive(owner) is not False


def owner_of(trial: FrozenTrial) -> Owner | None:
    """Return the process that a trial names; None if it names none: its process was killed between asking and signing.

    What another program has saved under that key is an owner without ``host`` and ``process``, about whom nothing is known.
    """
    owner = trial.user_attrs.get(OWNER)
    if owner is None:
        return None
    if not isinstance(owner, Mapping):
        return {}
    types: dict[str, type | tuple[type, ...]] = {"host": str, "pid": int, "started": (str, type(None))}
    is_ours = all(isinstance(owner.get(key), kind) for key, kind in types.items())
    # A process's name is also that of a file.
    is_named = "process" not in owner or re.fullmatch(r"\w[\w -]*", str(owner["process"]))
    return dict(owner) if is_ours and is_named else {}


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
