"""The expected failures: one exception class for each thing that the caller can do about one."""


class SweeperError(Exception):
    """Base class of all expected failures. Its text is one line: the rule, the value and the fix.

    The command line prints that line and exits with status 1; Python callers catch this class.
    """


class ConfigError(SweeperError):
    """The config breaks a rule. Raised before any file is written: change the config and start again."""


class CompositionError(ConfigError):
    """Hydra cannot compose the overrides: a key or an option does not exist. A search stops: every trial would fail."""


class BudgetError(ConfigError):
    """The network exceeds its budget. Raised before the network is built: a search rejects the trial."""


class DataError(SweeperError):
    """The dataset cannot be read or downloaded: correct `data.root`, or choose another dataset."""


class DeviceError(SweeperError):
    """This machine lacks the requested device or precision: request another one, or `auto`."""


class RunFolderError(SweeperError):
    """A run's folder cannot be used: it already holds files, cannot be written, or is damaged. Give another folder."""


class TrainingDivergedError(SweeperError):
    """A loss became non-finite, or the training loss too large. Completed epochs are kept: lower the learning rate."""


class DiskError(SweeperError):
    """A file cannot be written: the disk is full, or is read-only. What was finished is kept: free space, then go on."""


class StudyError(SweeperError):
    """A study cannot be run or read as requested: wrong search space, storage, option or name. Trials are kept."""


class UsageError(SweeperError):
    """A command got an argument it does not accept: its `--help` lists what it accepts."""


class BenchError(SweeperError):
    """A measured command failed. The text includes its own error: fix that, then measure again."""


class DashboardError(SweeperError):
    """The dashboard has no study to show or no free port: run a search first, or give another port."""
