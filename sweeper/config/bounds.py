"""How a bound on a config value is stated: the rule first, then the value."""

from sweeper.errors import ConfigError


def require(holds: bool, rule: str, value: object) -> None:  # noqa: FBT001 - reads as a sentence at its calls
    """Raise `ConfigError` with the rule and the value unless the rule holds; NaN satisfies no bound."""
    if not holds:
        raise ConfigError(f"{rule}, but got {value}")
