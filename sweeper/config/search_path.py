"""The Hydra plugin that gives every application the option ``hydra/sweeper=study``, with its samplers and pruners."""

from pathlib import Path
from typing import Final

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

CONFIGS: Final = Path(__file__).resolve().parent / "plugin"
"""The configs for every application. Those in conf/, of networks and data, are for our own alone."""


class StudyConfigs(SearchPathPlugin):
    """Appends `CONFIGS` to the search path: an application's own configs and those of other plugins come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder."""
        search_path.append(provider="sweeper", path=f"file://{CONFIGS}")
