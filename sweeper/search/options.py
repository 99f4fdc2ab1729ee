"""The options of `hydra.sweeper`, typed and bounded; sampler and pruner are Optuna's own and read elsewhere."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from sweeper.errors import StudyError


@dataclass(kw_only=True)
class StudyOptions:
    """Options under `hydra.sweeper`: first those of hydra-optuna-sweeper, by its names, then our own."""

    direction: Literal["maximize", "minimize"]
    """Whether higher or lower values are better."""
    storage: str | None
    """URL of the study's storage; None is a journal file in the study's folder."""
    study_name: str | None
    """Name of the study and of its folder; None is a prefix and a hash of what is searched."""
    n_trials: int
    """Trials of the whole study, resumed or not."""
    n_jobs: int | None
    """Trials at a time; None is one for each core."""
    max_failure_rate: float
    """Share of `n_trials` that may fail before the study ends."""
    params: dict[str, Any] | None
    """The space of a preset, by key, as overrides."""
    widths: bool = False
    """Whether every convolution's width is searched."""
    max_retry: int = 1
    """How often a failed trial is tried again."""
    stop_at_target: bool = True
    """Whether a search ends at the first completed trial that reaches the experiment's target."""
    dry_run: bool = False
    """Whether to print what would run instead of running it."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        for name, value in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if value is not None and value < 1:
                raise StudyError(f"hydra.sweeper.{name} must be at least 1, but got {value}")
        if self.max_retry < 0:
            raise StudyError(f"hydra.sweeper.max_retry must be at least 0, but got {self.max_retry}")
        if not 0 <= self.max_failure_rate <= 1:
            raise StudyError(f"hydra.sweeper.max_failure_rate must be in [0, 1], but got {self.max_failure_rate}")
        if self.study_name is not None and not re.fullmatch(r"\w[\w .+-]*", self.study_name):
            raise StudyError(
                "hydra.sweeper.study_name must be letters, digits and . _ + - or spaces, since it names a folder, "
                f"but got {self.study_name!r}"
            )
