"""Whether a config holds what the command line says, read by Hydra's own parser."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sweeper.config.origin import conf_dir
from sweeper.search.definition import Search

from .running import Job, Outcome
from .same import is_same
from .vocabulary import groups


def other_meanings(outcome: Outcome) -> Iterator[str]:
    """What the config of a run, or the space of a search, holds instead of what was typed."""
    if not outcome.jobs and outcome.search is None:
        return
    overrides = _overrides(outcome.arguments)
    last = [o for n, o in enumerate(overrides) if not any(_touches(later, o) for later in overrides[n + 1 :])]
    for job in outcome.jobs[:1]:
        yield from _of_run(last, job)
    if outcome.search is not None:
        yield from _of_search(last, outcome)


def _overrides(arguments: Sequence[str]) -> list[Override]:
    words = [word for word in arguments if not word.startswith("-")]
    parser, found = OverridesParser.create(), []
    for word in words:
        with suppress(HydraException):  # an argument of an option
            found.append(parser.parse_override(word))
    return found


def _touches(later: Override, earlier: Override) -> bool:
    one, other = _name(later), _name(earlier)
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _name(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~")


def _of_run(overrides: Sequence[Override], job: Job) -> Iterator[str]:
    settings = OmegaConf.to_container(job.settings, resolve=False, enum_to_str=True)
    for override in overrides:
        if override.is_delete() or override.is_sweep_override():
            continue
        name, given = _name(override), override.value()
        if isinstance(given, str) and ("${" in given or "\\" in given):
            continue
        if name in groups():
            used = job.settings.runtime.choices.get(name)
        elif "@" in name or "/" in name:
            continue
        else:
            used = _at({"hydra": settings} if name.startswith("hydra.") else job.conf, name)
        if not is_same(given, used):
            yield f"{override.input_line}: the config has {used!r}"


def _of_search(overrides: Sequence[Override], outcome: Outcome) -> Iterator[str]:
    search = outcome.search
    assert search is not None
    yield from _of_presets(overrides, search)
    for override in overrides:
        name = _name(override)
        if override.is_sweep_override():
            yield from _of_sweep(override, search.space.distributions)
        elif name.startswith("hydra.sweeper.") and not override.is_delete():
            yield from _of_option(override, outcome)
        elif search.base is not None and not override.is_delete() and not re.search(r"[@/]|^hydra", name):
            given, used = override.value(), _at(search.base, name)
            if search.options.architecture and name.endswith(".channels"):
                continue  # a list has room for a deeper group
            if name in groups() or (isinstance(given, str) and ("${" in given or "\\" in given)):
                continue
            if not is_same(given, used):
                yield f"{override.input_line}: the checked config has {used!r}"


def _of_presets(overrides: Sequence[Override], search: Search) -> Iterator[str]:
    """What a preset searches must be searched, unless the command line says otherwise."""
    presets = [o.value() for o in overrides if _name(o) == "search"]
    named = {_name(o) for o in overrides}
    for preset in presets:
        if not isinstance(preset, str) or {"hydra.sweeper.params", "hydra.sweeper.widths"} & named:
            continue
        settings = _preset(preset)
        for key in settings.get("params") or {}:
            if key not in named and key not in search.space.distributions:
                yield f"search={preset}: {key} is not searched"
        if settings.get("widths") and not any(".channels." in key for key in search.space.distributions):
            yield f"search={preset}: no width is searched"


def _preset(name: str) -> dict[str, Any]:
    """The options of a search that a preset's file sets."""
    plain = OmegaConf.to_container(OmegaConf.load(conf_dir() / "search" / f"{name.removesuffix('.yaml')}.yaml"))
    assert isinstance(plain, dict)
    return dict(plain["hydra"]["sweeper"])


def _of_option(override: Override, outcome: Outcome) -> Iterator[str]:
    name, given = _name(override), override.value()
    if isinstance(given, str) and "${" in given:
        return
    plain = OmegaConf.to_container(outcome.sweep_config, resolve=False) if outcome.sweep_config is not None else {}
    used = _at(plain, name)
    own = getattr(outcome.search.options, name.removeprefix("hydra.sweeper."), used) if outcome.search else used
    if not is_same(given, used) or (not is_same(given, own) and given is not None):
        yield f"{override.input_line}: the search has {own!r}"


def _of_sweep(override: Override, distributions: Mapping[str, Any]) -> Iterator[str]:
    key = str(override.get_key_element())
    found = distributions.get(key)
    if found is None:
        yield f"{override.input_line}: is not searched"
        return
    value = override.value()
    if isinstance(value, IntervalSweep):
        if not (is_same(value.start, found.low) and is_same(value.end, found.high)):
            yield f"{override.input_line}: the search has {found}"
    elif isinstance(value, ChoiceSweep) and not value.shuffle:
        given = [str(each) for each in override.sweep_iterator()]
        choices = getattr(found, "choices", ())
        if len(set(given)) != len({(type(c), c) for c in choices}):
            yield f"{override.input_line}: the search has {found}"


def _at(tree: Any, name: str) -> Any:
    for part in name.split("."):
        if isinstance(tree, list):
            tree = tree[int(part)] if part.lstrip("-").isdecimal() and int(part) < len(tree) else None
        elif isinstance(tree, dict):
            tree = tree.get(part, tree.get(int(part)) if part.isdecimal() else None)
        else:
            tree = getattr(tree, part, None)
    return tree
