"""What an observation is: one problem of a run, the measurements that show it, and a command to try next."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One problem that a rule found in a run's measurements."""

    rule: str
    """The name of the rule."""
    text: str
    """The problem and the measurements that show it, in full sentences."""
    evidence: dict[str, float]
    """Those measurements, unrounded, by name; accuracies are fractions."""
    command: str
    """The shell command to try next."""
