"""Reads files that a stranger may have written: regular files of a limited size, whose content is plain values.

What is read runs nothing, refers to nothing outside, and takes neither for ever nor all memory.
"""

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import IO, Any, Final

import yaml

MAX_BYTES: Final = 2**26
"""The largest file that is read whole: 64 MB, the metrics of a run of 200,000 epochs."""
MAX_DEPTH: Final = 50
"""The deepest nesting of YAML that is read. A composed config of Hydra has 10 levels."""

MAX_VALUES: Final = 100_000
"""The most values that a YAML file with aliases may stand for. A composed config of Hydra has some 300."""

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read. Raises `OSError` if it is not a regular one: a FIFO would block, a device has no end."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # raises for a folder
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file. Raises `OSError` if it is none, cannot be read, or is larger than `limit`."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))
    return content


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """Return the text of a regular file in UTF-8. Raises the errors of `read_bytes`, and `UnicodeDecodeError`."""
    return read_bytes(path, limit).decode()


def exists(path: Path) -> bool:
    """Whether there is such a path: there is none with a name that is too long, at which `Path.exists` raises."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder: one with a name that is too long is none, at which `Path.is_dir` raises."""
    return exists(path) and path.is_dir()


def is_file_within(path: Path, folder: Path) -> bool:
    """Whether a path is a regular file in the folder or below it, once all symbolic links are followed."""
    real = path.resolve()
    return real.is_file() and folder.resolve() in real.parents


def printable(text: str) -> str:
    r"""Return a text without the control characters by which a terminal takes commands; lines and tabs are kept.

    >>> printable("\x1b[31mred\x07")
    '[31mred'
    """
    return _CONTROL.sub("", text)


def parse_json(text: str | bytes) -> Any:
    """Return JSON as plain values. Raises `ValueError` if it is damaged or nested too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def check_aliases(text: str) -> None:
    """Raise `yaml.YAMLError` if YAML has a syntax error, is nested too deep, or its aliases stand for too many values.

    A config that a user writes for Hydra may have some.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > MAX_DEPTH:
                raise yaml.YAMLError(f"it is nested deeper than {MAX_DEPTH}")
            continue
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in open_nodes):
                raise yaml.YAMLError(f"*{event.anchor} stands for itself")
            anchor, size = None, sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        open_nodes[-1] = (open_nodes[-1][0], open_nodes[-1][1] + size)
        if open_nodes[-1][1] > MAX_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MAX_VALUES:,} values")


def parse_yaml(text: str) -> Any:
    """Return YAML, any application's config among it, as plain values; what it says of Python objects is their arguments.

    Raises `yaml.YAMLError` if it is damaged, nested deeper than `MAX_DEPTH`, or has an alias: a few of these stand for
    gigabytes, or for themselves. What Hydra and sweeper write has none.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"it has an alias, *{event.anchor}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested deeper than {MAX_DEPTH}")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - it derives from a safe one
    except (ValueError, TypeError, OverflowError) as error:  # values that only look like dates, or like keys
        raise yaml.YAMLError(str(error).partition("\n")[0]) from error


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Reads what Hydra writes of typed configs, such as paths: for a Python object its arguments, and runs nothing."""


def _arguments(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _arguments)
