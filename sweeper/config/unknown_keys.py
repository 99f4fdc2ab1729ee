"""Which keys of the config, or config groups, a name that does not exist may mean."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from omegaconf import OmegaConf

from sweeper.config.explaining import nearest
from sweeper.config.initialized import OWN, groups, keys
from sweeper.config.loading import dotted
from sweeper.config.origin import Origin, conf_dir
from sweeper.config.schema import ExperimentConf

PLACES: Final = {
    "head": "head@model.head=gap",
    "group": "group@model.groups.block1=conv, or +group@model.groups.NAME=conv for a new one",
}
"""Groups whose options are placed elsewhere in the config, and how one is chosen."""
CLOSE: Final = 0.6
"""Least similarity of a name that is suggested, as difflib measures it."""


def no_key(key: str, overrides: Sequence[str], origin: Origin = OWN) -> str:
    """Return the message for a key that the config with these overrides lacks."""
    having = _options_with(key)
    if having:
        group, _, name = key.partition(".")
        choices = " or ".join(f"{group}={option}" for option in having)
        return f"the chosen {group} has no key {name!r}, but others do: choose {choices}"
    if key in PLACES:
        return f"{key} is chosen for a part of the network: {PLACES[key]}"
    if "/" in key:
        return f"there is no config group {key!r}{nearest(key, groups(origin))}: --help lists the groups"
    shown = "hydra" if key.startswith("hydra.") else "job"
    return f"the config has no key {key!r}{_hint(key, overrides, origin)}: print the whole config with --cfg {shown}"


def _hint(key: str, overrides: Sequence[str], origin: Origin) -> str:
    """Return ``(did you mean ...?)``: keys that end so, then keys of the same parent, then the nearest of all."""
    # The default config may have this key, in an option of a group that was replaced: do not suggest it again.
    known = [
        name
        for name in keys(overrides, origin)
        if not f"{key}.".startswith(f"{name}.") and not name.endswith("._target_")
    ]
    own = [name for name in known if not name.startswith("hydra.")]
    ends_so = [name for name in (*own, *known) if name.endswith(f".{key}")]
    if ends_so:
        return f" (did you mean {', '.join(list(dict.fromkeys(ends_so))[:3])}?)"
    parent, _, last = key.rpartition(".")
    beside = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    close = [beside[name] for name in get_close_matches(last, list(beside), n=3, cutoff=CLOSE)] if parent else []
    if close:
        return f" (did you mean {', '.join(close)}?)"
    same_end = [name for name in known if parent and name.rpartition(".")[2] == last]
    rest = known if "hydra" in key else [*dict.fromkeys((*own, *(name for name in groups(origin) if "/" not in name)))]
    return nearest(key, same_end) or nearest(key, rest)


def _options_with(key: str) -> list[str]:
    """Return the options of a key's config group that have it; the one of the key's own name comes first."""
    group, _, name = key.partition(".")
    # Options of other groups, such as group and layer, are placed elsewhere in the config.
    files = sorted((conf_dir() / group).glob("*.yaml")) if group in ExperimentConf.__dataclass_fields__ and name else []
    having = [
        file.stem for file in files if name in dict(dotted(OmegaConf.to_container(OmegaConf.load(file), resolve=False)))
    ]
    return sorted(having, key=lambda option: option != name)
