"""Which failures a caller can tell apart, each named by what the caller does about it."""


class SweeperError(Exception):
    """Root of every failure this program foresees: its text is one line, the rule, the value and the fix.

    The command line prints that line and exits 1; a Python caller catches this class.
    """


class ConfigError(SweeperError):
    """The config breaks a rule. Raised before any file is written: change the config and start again."""


class CompositionError(ConfigError):
    """Hydra cannot compose the overrides: a key or option there is not. A search stops: no proposal mends it."""


class BudgetError(ConfigError):
    """The network is larger than the budget. Raised from the plan alone: a search rejects the proposal."""


class DataError(SweeperError):
    """The data set cannot be read or fetched: mend `data.root`, or take another data set."""


class DeviceError(SweeperError):
    """This machine lacks the device or precision asked for: ask for another, or for `auto`."""


class RunFolderError(SweeperError):
    """A run's folder cannot be used: it holds another run already, or cannot be written."""


class TrainingDivergedError(SweeperError):
    """The loss became useless. The epochs before it are kept: lower the learning rate and start again."""


class StudyError(SweeperError):
    """A study cannot go on, or be looked at, as asked: its space, storage, options or name. Nothing of it is lost."""


class UsageError(SweeperError):
    """A verb was given what it does not take: its `--help` says what it does."""


class BenchError(SweeperError):
    """A command that was being measured failed; its own words are in the text. Mend that, and measure again."""


class DashboardError(SweeperError):
    """The dashboard has nothing to show, or nowhere to: search first, or give another port. Nothing was changed."""
