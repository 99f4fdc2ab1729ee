"""Whether a value is used as it was given."""

import math
from typing import Any


def is_same(given: Any, used: Any) -> bool:
    """Whether a value is used as it was given: 1 may become 1.0, but not true, and 2.5 not 2."""
    if isinstance(given, dict) and isinstance(used, dict):
        return all(str(key) in {str(k) for k in used} for key in given)
    if isinstance(given, dict):  # a section, which has other keys too
        return all(hasattr(used, str(key)) for key in given)
    if isinstance(given, list) and isinstance(used, list):
        return len(given) == len(used) and all(map(is_same, given, used))
    if isinstance(given, bool) or isinstance(used, bool):
        return given is used
    if isinstance(given, int | float) and isinstance(used, int | float):
        return given == used or (math.isnan(given) and math.isnan(used))
    if isinstance(given, str) and isinstance(used, int | float):
        return _as_number(given) == used
    return str(given) == str(used) if isinstance(used, str) else given is used


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
