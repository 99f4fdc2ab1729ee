"""The options of `hydra.sweeper`, validated. Those of sampler and pruner are Optuna's: see `sampler_and_pruner`."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

from sweeper.config.schema import RULE, SECONDS, Cost
from sweeper.errors import StudyError

DIRECTIONS: Final = ("maximize", "minimize")
OF_A_VARIABLE: Final = "${oc.env:STUDY_URL}"
"""A storage's URL that the environment holds, in the variable that documents name: it may have a password."""
MAX_BYTES: Final = 255
"""Maximum length of a folder's name on Linux."""


@dataclass(kw_only=True)
class StudyOptions:
    """Options under `hydra.sweeper`: first those of hydra-optuna-sweeper under the same names, then sweeper's own."""

    direction: Any
    """``maximize`` or ``minimize``, for several values of another application a list; None: see study.yaml."""
    storage: str | None
    """URL of the study's storage; None means a journal file in the study's folder."""
    study_name: str | None
    """Name of the study and of its folder; None means a prefix and a hash of the search."""
    n_trials: int
    """Number of trials in the whole study, those before a resume included."""
    n_jobs: int | None
    """Number of trials that run at the same time; None means one per core; 16 in Slurm; as many as fit in a Ray cluster."""
    max_failure_rate: float
    """Fraction of `n_trials` that may fail; one more failure ends the study."""
    params: dict[str, Any] | None
    """The search space of a preset: a sweep override's value by key."""
    widths: bool = False
    """Whether the width, the number of output channels, of every convolution is searched."""
    cost: Cost | None = None
    """What the search makes small beside its accuracy: the study has two objectives. None for accuracy alone."""
    smallest: bool = False
    """Whether only the lowest cost at the experiment's target is asked for, not accuracy at every cost."""
    architecture: bool = False
    """Whether depth, pooling, kernel and padding of every layer group are searched, and the widths of all depths."""
    max_retry: int = 1
    """Number of times a failed trial is tried again."""
    grace_seconds: float = 60.0
    """Time after which a trial whose process shows no sign of life is tried again, by whichever process sees it."""
    timeout: float | None = field(default=None, metadata={RULE: SECONDS})
    """Time, in seconds, after which this process starts no more trials; those that run are finished. None for no limit. A
    process that goes on with the study has as much again."""
    trial_timeout: float | None = field(default=None, metadata={RULE: SECONDS})
    """Time, in seconds, that a trial may run; then it is ended and has failed. None for no limit. It begins when the
    trial's job does: waiting in a queue, or for a worker to start, does not count."""
    stop_at_target: bool = True
    """Whether a search ends at the first completed trial that reaches the experiment's target."""
    warm_start: Any = None
    """Names or folders of other studies, whose fitting trials the sampler knows from the start: one, or a list."""
    dry_run: bool = False
    """Whether to describe the study instead of running it."""

    def __post_init__(self) -> None:
        """Check the bounds. Raises `StudyError`."""
        self._check_direction()
        for name, value in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if value is not None and value < 1:
                raise StudyError(f"hydra.sweeper.{name} must be at least 1, but got {value}")
        if self.cost is not None and self.direction == "minimize":
            raise StudyError(f"hydra.sweeper.cost needs direction=maximize, but got {self.direction}: leave one out")
        if self.smallest and self.cost is None:
            raise StudyError("hydra.sweeper.smallest needs a cost: add hydra.sweeper.cost=parameters")
        if self.max_retry < 0:
            raise StudyError(f"hydra.sweeper.max_retry must be at least 0, but got {self.max_retry}")
        self._check_times()
        if not 0 <= self.max_failure_rate <= 1:
            raise StudyError(f"hydra.sweeper.max_failure_rate must be in [0, 1], but got {self.max_failure_rate}")
        others = self.warm_start if isinstance(self.warm_start, list) else [self.warm_start]
        if not all(isinstance(name, str) for name in others) and self.warm_start is not None:
            raise StudyError(
                f"hydra.sweeper.warm_start must be a study or a list of studies, as in [one,two], but got {self.warm_start}"
            )
        self._check_storage()
        if self.study_name is not None and not is_study_name(self.study_name):
            raise StudyError(
                f"hydra.sweeper.study_name must be letters, digits and . _ + - or spaces, at most {MAX_BYTES} bytes, since it names "
                f"a folder, but got {self.study_name!r}"
            )

    def _check_times(self) -> None:
        if not 1 <= self.grace_seconds <= 86_400:
            raise StudyError(f"hydra.sweeper.grace_seconds must be in [1, 86400], but got {self.grace_seconds:g}")
        for name, seconds in (("timeout", self.timeout), ("trial_timeout", self.trial_timeout)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise StudyError(f"hydra.sweeper.{name} must be {SECONDS}, but got {seconds:g}")

    @property
    def directions(self) -> list[str]:
        """The direction of each objective value; empty if it is not given."""
        return [] if self.direction is None else [self.direction] if isinstance(self.direction, str) else self.direction

    def _check_storage(self) -> None:
        if self.storage is not None and not self.storage.strip():
            raise StudyError(
                "hydra.sweeper.storage must be a URL, but it is empty: set the variable that it names, or leave it out for a "
                "journal file"
            )

    def _check_direction(self) -> None:
        is_list = isinstance(self.direction, list) and len(self.direction) > 1
        if not (self.direction is None or isinstance(self.direction, str) or is_list) or any(
            each not in DIRECTIONS for each in self.directions
        ):
            raise StudyError(
                f"hydra.sweeper.direction must be maximize or minimize, or a list with one for each of several values, "
                f"but got {self.direction}"
            )

    @property
    def other_studies(self) -> list[str]:
        """The studies of `warm_start`."""
        if self.warm_start is None:
            return []
        return list(dict.fromkeys(self.warm_start if isinstance(self.warm_start, list) else [self.warm_start]))


def is_study_name(name: str) -> bool:
    """Whether a study can have this name, which is its folder's too."""
    return re.fullmatch(r"\w[\w .+-]*", name) is not None and len(name.encode()) <= MAX_BYTES
