"""The keys of the user attributes that sweeper saves with a study and its trials, and reading a count."""

from typing import Any, Final

SEARCH: Final = "search"
"""Of a study: the content of search.yaml, for hosts that have no such file."""
REJECTED: Final = "rejected"
"""The reason a proposal was rejected, one line."""
RULE: Final = "rejected_by"
"""The kind of rejection: ``over budget``, ``cannot be built`` or ``not smaller than the answer``."""
FAILED: Final = "failed"
"""The reason a trial failed, one line."""
PRUNED: Final = "pruned"
"""The reason that a trial gave when it pruned itself, one line."""
RETRY: Final = "retry_of"
"""Despite the key's text a count: how often this point failed before."""
DEATHS: Final = "deaths"
"""How many processes in a row died at this point before; see `study.retries`."""
REQUEUED: Final = "requeued"
"""True if the trial failed and its point was queued again."""
REQUEUE_OF: Final = "requeue_of"
"""The number of the trial whose point this one tries again."""
OWNER: Final = "owner"
"""The process that asked for the trial, see `study.owner`."""
FINGERPRINT: Final = "config_sha256"
"""SHA-256 of the trial's config, see `search.feasibility.fingerprint`."""
DUPLICATE: Final = "duplicate_of"
"""The number of the trial with the same config, whose value and folder this trial shares."""
PARAMETERS: Final = "parameters"
MACS: Final = "macs"
RECEPTIVE_FIELD: Final = "receptive_field"
"""Receptive field before the head, one side in pixels; the head sees the whole image."""


def whole(value: Any) -> int | None:
    """Return a value of another program's study, or of a file, as a whole number; None if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
