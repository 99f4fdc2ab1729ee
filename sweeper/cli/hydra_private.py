"""The only module that uses private parts of Hydra: the parser of its options, and how it loads config files."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Final

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.utils import get_args_parser
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from sweeper.config.file_rules import REPLACED, forbidden
from sweeper.config.origin import conf_dir
from sweeper.config.search_path import CONFIGS
from sweeper.errors import CompositionError, UsageError
from sweeper.shell import sweeper_command
from sweeper.untrusted import check_aliases, read_text

VERSION: Final = "1.4"
"""The version of Hydra that this module was checked against."""


def ordered(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the overrides last: Hydra's parser knows none that stand behind an option's value.

    Raises `UsageError` for an option that Hydra does not have, or one without its value; Hydra prints its usage.
    """
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            _, unknown = get_args_parser().parse_known_args(list(arguments))
    except SystemExit as error:
        reason = printed.getvalue().strip().splitlines()[-1:] or [str(error)]
        raise UsageError(
            f"{reason[0].partition('error: ')[2] or reason[0]}: see {sweeper_command('--help')}"
        ) from error
    if any(argument.startswith("-") for argument in unknown):
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}: see {sweeper_command('--help')}")
    first = list(arguments)
    for override in reversed(unknown):
        del first[len(first) - 1 - first[::-1].index(override)]
    return [*first, *unknown]


def typed_overrides(arguments: Sequence[str]) -> list[str]:
    """Return the overrides among arguments that `ordered` has accepted."""
    found, _ = get_args_parser().parse_known_intermixed_args(list(arguments))
    return [str(override) for override in found.overrides]


@contextmanager
def config_files_checked(arguments: Sequence[str]) -> Iterator[None]:
    """Within the block, load config files as a stranger's: with limits, and refusing what `forbidden` names.

    Those of sweeper itself are its own. A path or URL that `arguments` give takes the place of a file's. Hydra raises
    `CompositionError` when it loads the file.
    """
    typed = {argument.partition("=")[0].lstrip("+") for argument in arguments if "=" in argument}

    def load_limited(self: FileConfigSource, config_path: str) -> ConfigResult:
        path = Path(self.path, self._normalize_file_name(config_path))
        if path.exists() and not _is_ours(self.path):
            try:
                check_aliases(read_text(path))
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
                raise CompositionError(f"a config must be a readable YAML file, but {path} is not: {reason}") from error
        return _load_file(self, config_path)

    def load_checked(self: ConfigLoaderImpl, default: Any, repo: Any) -> ConfigResult:
        result = _load_in_its_place(self, default, repo)
        source = result.path.removeprefix("file://")
        if source != result.path and not _is_ours(source):
            content = OmegaConf.to_container(result.config, resolve=False)
            for key, does in forbidden(content if isinstance(content, dict) else {}):
                if key not in typed & REPLACED:
                    fix = f"type {key}=..." if key in REPLACED else "take it out, and type it"
                    raise CompositionError(
                        f"{key} {does}, and a config file may be a stranger's, but {source}/{default.config_path}.yaml sets "
                        f"it: if it is yours, {fix} on the command line"
                    )
        return result

    # Another class as the source of files would be pickled for each worker process, whose own Hydra refuses it.
    FileConfigSource.load_config = load_limited  # type: ignore[method-assign]
    ConfigLoaderImpl._load_single_config = load_checked  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield
    finally:
        FileConfigSource.load_config = _load_file  # type: ignore[method-assign]
        ConfigLoaderImpl._load_single_config = _load_in_its_place  # type: ignore[method-assign]  # noqa: SLF001


_load_file: Final = FileConfigSource.load_config
_load_in_its_place: Final = ConfigLoaderImpl._load_single_config  # noqa: SLF001


def _is_ours(folder: str) -> bool:
    return any(Path(folder) == ours or ours in Path(folder).parents for ours in (conf_dir(), CONFIGS))
