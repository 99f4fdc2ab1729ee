"""Checks bounds on config values. An error states the rule first, then the value."""

from sweeper.errors import ConfigError


def require(holds: bool, rule: str, value: object) -> None:  # noqa: FBT001 - reads as a sentence at its calls
    """Raise `ConfigError` with the rule and the value unless `holds`. A comparison with NaN is False, so NaN fails."""
    if not holds:
        raise ConfigError(f"{rule}, but got {value}")
