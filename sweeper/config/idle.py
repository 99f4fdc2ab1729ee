"""Which settings of a config change nothing beside its others: configs that differ in them alone train the same network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sweeper.config.loading import DEFAULT_MOMENTUM
from sweeper.config.model import GroupConf, ModelConf
from sweeper.config.schema import AdamwConf, ExperimentConf, OneCycleConf, StepConf

NEUTRAL: Final[dict[str, Any]] = {
    "dropout_kind": "channel",
    "pool_kind": "max",
    "order": "conv_norm_act",
    "conv": "plain",
    "elastic_sigma": 4.0,
    "step_size": 1,
    "gamma": 1.0,
    "momentum": DEFAULT_MOMENTUM,
    "beta1": DEFAULT_MOMENTUM,
}
"""By the last part of a key: the value that stands for all others where the key changes nothing."""


def idle_settings(conf: ExperimentConf) -> dict[str, str]:
    """Return the keys that change nothing, with the reason."""
    return dict(_idle(conf))


def idle_overrides(idle: Mapping[str, str], overrides: Sequence[str]) -> list[str]:
    """Return a sentence for each override whose key is among the idle ones, unless it gives the default.

    They are said, not refused: a command that follows from another one may keep what no longer matters.
    """
    said = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in idle and value not in {"null", str(NEUTRAL.get(key.rpartition(".")[2]))}:
            said.append(f"{key}={value} changes nothing here: {idle[key]}")
    return said


def without_idle(conf: ExperimentConf) -> dict[str, Any]:
    """Return the values to set, by key, so that configs that train the same are equal."""
    return {
        key: None if key.startswith("model.groups.") else NEUTRAL[name]
        for key in idle_settings(conf)
        if (name := key.rpartition(".")[2]) in NEUTRAL
    }


def _idle(conf: ExperimentConf) -> Iterator[tuple[str, str]]:
    yield from _of_network(conf.model)
    if isinstance(conf.scheduler, OneCycleConf):
        cycled = "beta1" if isinstance(conf.optimizer, AdamwConf) else "momentum"
        if getattr(conf.optimizer, cycled) != 0:  # SGD without any momentum keeps none
            yield f"optimizer.{cycled}", "scheduler=onecycle sets it for each step"
    if isinstance(conf.scheduler, StepConf):
        if conf.scheduler.step_size >= conf.training.epochs:
            yield (
                "scheduler.gamma",
                f"{conf.training.epochs} epochs end before the first step, scheduler.step_size={conf.scheduler.step_size}",
            )
        if conf.scheduler.gamma == 1:
            yield "scheduler.step_size", "scheduler.gamma=1 keeps the learning rate"
    if conf.augment.elastic == 0:
        yield "augment.elastic_sigma", "augment.elastic is 0"
    if conf.data.validation != "split":
        for key in ("validation_size", "split_seed"):
            yield f"data.{key}", f"data.validation={conf.data.validation} holds out no training images"


def _of_network(model: ModelConf) -> Iterator[tuple[str, str]]:
    needs = {
        "dropout_kind": ("dropout", 0, "dropout is 0"),
        "pool_kind": ("pool", 1, "nothing is pooled"),
        "order": ("norm", "none", "there is no normalization"),
        "conv": ("kernel_size", 1, "of a kernel of one pixel both kinds are the same"),
    }
    for name, (other, off, why) in needs.items():
        users = [group for group in model.groups.values() if getattr(group, name) is None]
        if not users:
            yield f"model.{name}", "every layer group has its own"
        elif all(_of(group, model, other) == off for group in users):
            yield f"model.{name}", why
        for group_name, group in model.groups.items():
            if _of(group, model, other) == off:
                yield f"model.groups.{group_name}.{name}", why
    for name in GroupConf.__dataclass_fields__.keys() & ModelConf.__dataclass_fields__.keys() - needs.keys():
        if all(getattr(group, name) is not None for group in model.groups.values()):
            yield f"model.{name}", "every layer group has its own"
    for group_name, group in model.groups.items():
        for index in range(len(group.widths), len(group.channels)):
            yield f"model.groups.{group_name}.channels.{index}", f"model.groups.{group_name}.depth is {group.depth}"


def _of(group: GroupConf, model: ModelConf, name: str) -> object:
    own = getattr(group, name)
    return getattr(model, name) if own is None else own
