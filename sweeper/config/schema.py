"""What a valid config is: typed, bounded, without torch. `load` is the one way in, `dump` the one way out."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from sweeper.errors import ConfigError

DropoutKind = Literal["channel", "element"]
Norm = Literal["batch", "none"]
Activation = Literal["relu", "leaky_relu", "silu", "gelu"]
Order = Literal["conv_norm_act", "conv_act_norm"]

IN_WORDS: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list[int]: "a list of whole numbers such as [8,16]",
    NoneType: "null",
}
"""What a value of a type is called."""
MAX_THREADS: Final = 256
"""More than any machine this is for has cores."""
MAX_DATA_FRACTION: Final = 0.5
"""Largest augmentation shift or scale: beyond half the image, the digit leaves the frame."""


@dataclass(kw_only=True)
class GroupConf:
    """One named group of convolutions, a block or a transition; ``None`` takes the model-wide value."""

    channels: list[int] = MISSING
    """Output channels of each convolution, in order."""
    kernel_size: int | None = MISSING
    """Side of the square kernel, pixels. The one key besides `channels` that has to be written, so that
    the values left behind by ``~group@model.groups.NAME`` are not taken for a group."""
    padding: int | None = None
    """Zeros added on each side, pixels."""
    pool: int | None = None
    """Side and stride of the max pooling before the first convolution; 1 is none."""
    dropout: float | None = None
    """Probability of dropping a channel or element, after each convolution."""
    dropout_kind: DropoutKind | None = None
    """Whole channels (Dropout2d) or single elements."""
    bias: bool | None = None
    """Whether the convolutions have a bias."""
    norm: Norm | None = None
    """Normalisation after each convolution."""
    activation: Activation | None = None
    """Nonlinearity after each convolution."""
    order: Order | None = None
    """Whether the normalisation stands before or after the activation."""

    def __post_init__(self) -> None:
        _require(bool(self.channels), "channels must name at least one convolution", self.channels)
        _require(all(c > 0 for c in self.channels), "channels must be positive", self.channels)
        _check_layer(self)


@dataclass(kw_only=True)
class HeadConf:
    """How the last map becomes class scores."""

    name: Literal["conv", "gap"] = MISSING
    """`conv`: a 1×1 convolution on a 1×1 map. `gap`: global average pooling and a linear layer."""
    bias: bool = True
    """Whether that last layer has a bias."""


@dataclass(kw_only=True)
class ModelConf:
    """Layer groups in the order they are applied, a head, and the values groups inherit."""

    kernel_size: int = MISSING
    """Model-wide `GroupConf.kernel_size`."""
    padding: int = MISSING
    """Model-wide `GroupConf.padding`."""
    pool: int = MISSING
    """Model-wide `GroupConf.pool`."""
    dropout: float = MISSING
    """Model-wide `GroupConf.dropout`."""
    dropout_kind: DropoutKind = MISSING
    """Model-wide `GroupConf.dropout_kind`."""
    bias: bool = MISSING
    """Model-wide `GroupConf.bias`."""
    norm: Norm = MISSING
    """Model-wide `GroupConf.norm`."""
    activation: Activation = MISSING
    """Model-wide `GroupConf.activation`."""
    order: Order = MISSING
    """Model-wide `GroupConf.order`."""
    groups: dict[str, GroupConf] = MISSING
    """The groups by name; the order of the mapping is the order of the layers."""
    head: HeadConf = MISSING
    """The last layer."""

    def __post_init__(self) -> None:
        _require(bool(self.groups), "groups must hold at least one group", "{}")
        for name in self.groups:
            _require(
                re.fullmatch(r"[A-Za-z_]\w*", name) is not None and name != "head",
                "groups must have names of letters, digits and _, none of them 'head'",
                repr(name),
            )
        _check_layer(self)


@dataclass(kw_only=True)
class DataConf:
    """Which images, and which of them judge the network."""

    name: str = MISSING
    """A name in `sweeper.data.catalogue.DATASETS`."""
    root: str = MISSING
    """Folder that holds, or is to hold, torchvision's files; unused by `mnist5k`."""
    validation: Literal["split", "test"] = MISSING
    """`split`: hold part of the training set out and leave the test set sealed. `test`: judge on the test set."""
    validation_size: int = MISSING
    """Images held out, stratified by class; unused with `validation=test`."""
    split_seed: int = MISSING
    """Seed of that choice, apart from the run's seed so that all runs share one split."""

    def __post_init__(self) -> None:
        _require(self.validation_size > 0, "validation_size must be positive", self.validation_size)
        _check_seed("split_seed", self.split_seed)


@dataclass(kw_only=True)
class AugmentConf:
    """Per-image random changes to the training images; each value is the half-width of a uniform draw."""

    name: Literal["none", "affine"] = MISSING
    """`none` leaves every image as it is."""
    rotation: float = 0.0
    """Radians."""
    shift: float = 0.0
    """Fraction of the image's side, in each direction."""
    scale: float = 0.0
    """Fraction of the digit's size."""

    def __post_init__(self) -> None:
        _require(0 <= self.rotation <= math.pi, "rotation must be in [0, π] radians", self.rotation)
        for name, value in (("shift", self.shift), ("scale", self.scale)):
            _require(0 <= value <= MAX_DATA_FRACTION, f"{name} must be in [0, {MAX_DATA_FRACTION}]", value)


@dataclass(kw_only=True)
class OptimizerConf:
    """What every optimizer has."""

    name: str = MISSING
    """`sgd` or `adamw`."""
    lr: float = MISSING
    """Learning rate; the peak of it under the onecycle schedule."""
    weight_decay: float = MISSING
    """L2 penalty (sgd) or decoupled decay (adamw), on all parameters."""

    def __post_init__(self) -> None:
        _require(0 < self.lr < math.inf, "lr must be positive and finite", self.lr)
        _require(0 <= self.weight_decay < math.inf, "weight_decay must be ≥ 0 and finite", self.weight_decay)


@dataclass(kw_only=True)
class SgdConf(OptimizerConf):
    """Stochastic gradient descent."""

    momentum: float = MISSING
    """Share of the last update kept. The onecycle schedule moves it between 0.85 and 0.95 instead."""
    nesterov: bool = MISSING
    """Whether the gradient is taken ahead of the momentum; needs momentum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.momentum < 1, "momentum must be in [0, 1)", self.momentum)
        _require(
            self.momentum > 0 or not self.nesterov, "nesterov needs a momentum above 0", f"momentum={self.momentum}"
        )


@dataclass(kw_only=True)
class AdamwConf(OptimizerConf):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    beta1: float = MISSING
    """Decay of the gradient's running mean."""
    beta2: float = MISSING
    """Decay of its running square."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            _require(0 <= value < 1, f"{name} must be in [0, 1)", value)


@dataclass(kw_only=True)
class SchedulerConf:
    """How the learning rate moves; `constant` has nothing more to say."""

    name: str = MISSING
    """`constant`, `step` or `onecycle`."""


@dataclass(kw_only=True)
class StepConf(SchedulerConf):
    """The learning rate times `gamma` every `step_size` epochs."""

    step_size: int = MISSING
    """Epochs between two drops."""
    gamma: float = MISSING
    """Factor of each drop."""

    def __post_init__(self) -> None:
        _require(self.step_size > 0, "step_size must be positive", self.step_size)
        _require(0 < self.gamma <= 1, "gamma must be in (0, 1]", self.gamma)


@dataclass(kw_only=True)
class OneCycleConf(SchedulerConf):
    """Warm-up to the learning rate, then cosine annealing (Smith and Topin, 2018), step by step."""

    pct_start: float = MISSING
    """Share of all steps spent warming up."""
    div_factor: float = MISSING
    """First learning rate is the peak divided by this."""
    final_div_factor: float = MISSING
    """Last learning rate is the first divided by this."""

    def __post_init__(self) -> None:
        _require(0 < self.pct_start < 1, "pct_start must be in (0, 1)", self.pct_start)
        for name, value in (("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)):
            _require(1 <= value < math.inf, f"{name} must be ≥ 1 and finite", value)


@dataclass(kw_only=True)
class TrainingConf:
    """How long, in what portions, against which loss."""

    epochs: int = MISSING
    """Passes over the training images."""
    batch_size: int = MISSING
    """Images per step; at least 2, which batch normalisation on a 1×1 map needs."""
    label_smoothing: float = MISSING
    """Share of each label spread over all classes."""

    def __post_init__(self) -> None:
        _require(self.epochs > 0, "epochs must be positive", self.epochs)
        _require(self.batch_size > 1, "batch_size must be at least 2", self.batch_size)
        _require(0 <= self.label_smoothing < 1, "label_smoothing must be in [0, 1)", self.label_smoothing)


@dataclass(kw_only=True)
class BudgetConf:
    """What the network may cost at most; ``None`` is no limit."""

    parameters: int | None = MISSING
    """Learnable numbers, biases and normalisation included."""
    macs: int | None = MISSING
    """Multiply-accumulates of one image's forward pass."""

    def __post_init__(self) -> None:
        for name, value in (("parameters", self.parameters), ("macs", self.macs)):
            _require(value is None or value > 0, f"{name} must be positive, or null for no limit", value)


@dataclass(kw_only=True)
class LoggingConf:
    """Where a run's numbers go beside its own folder; changes nothing about the run."""

    name: Literal["none", "tensorboard"] = "none"
    """`tensorboard`: event files in the run's folder."""


@dataclass(kw_only=True)
class ExperimentConf:
    """One experiment, whole: the same config on the same machine and version gives the same bits."""

    seed: int = MISSING
    """Seed of weights, order of images, dropout and augmentation."""
    device: Literal["auto", "cpu", "cuda"] = MISSING
    """`auto`: cuda where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = MISSING
    """`auto`: bf16 where the processor multiplies it in hardware."""
    threads: int | str = MISSING
    """Threads within one operation, or `auto`: one, which measured best for networks this small."""
    target: float = MISSING
    """Validation accuracy the run is judged by, a fraction."""
    model: ModelConf = MISSING
    """The network."""
    data: DataConf = MISSING
    """The images."""
    augment: AugmentConf = MISSING
    """Changes to the training images."""
    optimizer: OptimizerConf = MISSING
    """`SgdConf` or `AdamwConf`, by its name."""
    scheduler: SchedulerConf = MISSING
    """`SchedulerConf`, `StepConf` or `OneCycleConf`, by its name."""
    training: TrainingConf = MISSING
    """Epochs, batches, loss."""
    budget: BudgetConf = MISSING
    """What the network may cost."""
    logging: LoggingConf = field(default_factory=LoggingConf)
    """Who else is told. Runs saved before this was here told nobody."""

    def __post_init__(self) -> None:
        _check_seed("seed", self.seed)
        _require(
            self.threads == "auto" or (isinstance(self.threads, int) and 0 < self.threads <= MAX_THREADS),
            f"threads must be 'auto' or a whole number from 1 to {MAX_THREADS}",
            self.threads,
        )
        _require(0 < self.target <= 1, "target must be a fraction in (0, 1]", self.target)


_VARIANTS: Final[dict[str, dict[str, type]]] = {
    "optimizer": {"sgd": SgdConf, "adamw": AdamwConf},
    "scheduler": {"constant": SchedulerConf, "step": StepConf, "onecycle": OneCycleConf},
}


def load(cfg: DictConfig | Mapping[str, Any]) -> ExperimentConf:
    """Turn a composed or saved config into a typed one, with every bound checked.

    Raises `ConfigError`: the key, the rule, the value.
    """
    node = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(dict(cfg))
    schema = OmegaConf.structured(ExperimentConf)
    try:
        for section, variants in _VARIANTS.items():
            name = OmegaConf.select(node, f"{section}.name")
            if name not in variants:
                rule = f"{section}.name must be one of {', '.join(variants)}, but got {name}"
                raise ConfigError(f"{rule}: choose with {section}=...")
            schema[section] = OmegaConf.structured(variants[name])
        merged = OmegaConf.merge(schema, node)
        return _to_object(merged)
    except MissingMandatoryValue as error:
        raise ConfigError(_missing(str(error.full_key))) from error
    except ConfigKeyError as error:
        raise ConfigError(_unknown(schema, str(error.full_key))) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_mistyped(schema, node, str(error.full_key), str(error))) from error


def dump(conf: ExperimentConf) -> str:
    """Return the config as YAML; `load` of it gives an equal config."""
    return str(OmegaConf.to_yaml(OmegaConf.create(asdict(conf))))


def dotted(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested mappings with its dotted key, in their order; a list is one value.

    >>> dict(dotted({"model": {"dropout": 0.1, "groups": {}}, "seed": 1}))
    {'model.dropout': 0.1, 'seed': 1}
    """
    if not isinstance(node, Mapping):
        yield prefix, node
        return
    for key, child in node.items():
        yield from dotted(child, f"{prefix}.{key}" if prefix else str(key))


def nearest(name: str, choices: list[str]) -> str:
    """Return `` (did you mean a, b?)``, the choices most like the name, or nothing when none is."""
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.6)
    return f" (did you mean {', '.join(close)}?)" if close else ""


def _require(holds: bool, rule: str, value: object) -> None:  # noqa: FBT001 - reads as a sentence at its calls
    """Raise the rule and the value unless it holds; NaN holds no bound."""
    if not holds:
        raise ConfigError(f"{rule}, but got {value}")


def _check_seed(name: str, seed: int) -> None:
    # The range torch.Generator.manual_seed takes without wrapping round.
    _require(0 <= seed < 2**63, f"{name} must be in [0, 2^63)", seed)


def _check_layer(layer: GroupConf | ModelConf) -> None:
    """Bounds that a group's own values and the model-wide ones share."""
    for name, low in (("kernel_size", 1), ("padding", 0), ("pool", 1)):
        value = getattr(layer, name)
        _require(value is None or value >= low, f"{name} must be at least {low}", value)
    _require(layer.dropout is None or 0 <= layer.dropout < 1, "dropout must be in [0, 1)", layer.dropout)


def _to_object(merged: Any) -> ExperimentConf:
    """Build the dataclasses; a rule broken deep inside is reported with its full key."""
    try:
        conf = OmegaConf.to_object(merged)
    except ConfigError:
        for path, node in _inner_nodes(merged, ""):
            try:
                OmegaConf.to_object(node)
            except ConfigError as error:
                raise ConfigError(f"{path}{error}") from error
        raise
    assert isinstance(conf, ExperimentConf)
    return conf


def _inner_nodes(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Every mapping below the root with its dotted prefix, deepest first."""
    for key in node:
        child = node[key]
        if isinstance(child, DictConfig):
            yield from _inner_nodes(child, f"{path}{key}.")
    yield path, node


def _missing(key: str) -> str:
    group = re.fullmatch(r"model\.groups\.(\w+)\.kernel_size", key)
    if group:
        name = f"model.groups.{group[1]}"
        return f"{key} must be given, but it is missing: delete a group with ~{name}, add one with +group@{name}=conv"
    return f"{key} must be given, but it is missing: add {key}=..."


def _mistyped(schema: DictConfig, node: DictConfig, key: str, reason: str) -> str:
    """Say what a key takes, where that can be said in words; else what OmegaConf says."""
    parent, _, name = re.sub(r"\[\d+\]$", "", key).rpartition(".")
    owner: Any = ExperimentConf
    if _is_group(parent):
        owner = GroupConf
    elif parent:
        owner = OmegaConf.get_type(schema, parent) or get_type_hints(ExperimentConf).get(parent)
    hint = get_type_hints(owner).get(name) if isinstance(owner, type) else None
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    takes = " or ".join(IN_WORDS[kind] for kind in kinds if kind in IN_WORDS)
    if not takes or not all(kind in IN_WORDS for kind in kinds):
        return f"{key}: {reason.splitlines()[0]}"
    got = OmegaConf.select(node, f"{parent}.{name}" if parent else name)
    return f"{parent}{'.' if parent else ''}{name} must be {takes}, but got {str(got).replace('None', 'null')}"


def _is_group(key: str) -> bool:
    return re.fullmatch(r"model\.groups\.\w+", key) is not None


def _unknown(schema: DictConfig, key: str) -> str:
    parent, _, name = key.rpartition(".")
    # Groups have free names, so their keys are those of any group.
    if _is_group(parent):
        allowed = list(GroupConf.__dataclass_fields__)
    else:
        allowed = [str(k) for k in (OmegaConf.select(schema, parent) if parent else schema)]
    where = parent or "the config"
    return f"{key} is no key of {where}{nearest(name, allowed)}: it has {', '.join(allowed)}"
