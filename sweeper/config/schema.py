"""Schema of a config: dataclasses with types and bounds, without torch. `model` holds the network's part.

`loading.load` checks a config against it. `MISSING` marks keys that conf/ sets.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Literal

from omegaconf import MISSING

from sweeper.config.bounds import require
from sweeper.config.model import ModelConf

MAX_THREADS: Final = 256
"""More cores than any machine this program is meant for has."""
THREADS: Final = f"'auto' or a whole number from 1 to {MAX_THREADS}"
"""What `ExperimentConf.threads` must be."""
SECONDS: Final = "a positive, finite number of seconds, or null for no limit"
"""What a limit of time must be."""
RULE: Final = "rule"
"""In a field's metadata: what its value must be, if its type does not say so."""
MAX_DATA_FRACTION: Final = 0.5
"""Largest `AugmentConf.shift` or `scale`: beyond half the image, the digit leaves the frame."""
MAX_ELASTIC: Final = 8
"""Largest `AugmentConf.elastic`, pixels: beyond, digits leave a frame of 28 pixels."""
ELASTIC_SIGMAS: Final = (2, 100)
"""Bounds of `AugmentConf.elastic_sigma`, pixels: below, strokes tear; above, the whole image moves as one."""


@dataclass(kw_only=True)
class DataConf:
    """The dataset and its validation split."""

    name: str = MISSING
    """A name in `sweeper.data.catalogue.DATASETS`."""
    root: str = MISSING
    """Folder that torchvision's files are read from and downloaded to; unused by `mnist5k`."""
    validation: Literal["split", "test", "none"] = MISSING
    """`split`: hold out part of the training set and leave the test set sealed. `test`: validate on the test set.
    `none`: train on all training images without validation, as `confirm` does; such a run has no value."""
    validation_size: int = MISSING
    """Number of images held out, stratified by class; used with `validation=split` alone."""
    split_seed: int = MISSING
    """Seed of the split, separate from the run's seed so that all runs share one split."""

    def __post_init__(self) -> None:
        require(self.validation_size > 0, "validation_size must be positive", self.validation_size)
        _check_seed("split_seed", self.split_seed)


@dataclass(kw_only=True)
class AugmentConf:
    """Random variation of each training image; validation images stay as they are.

    Affine transform and elastic displacement are one interpolation. The affine values are half-widths of uniform draws
    around no change.
    """

    name: Literal["none", "affine", "elastic", "erasing", "flip"] = MISSING
    """`none` leaves the images unchanged; with every other name all keys below apply, 0 being no change."""
    rotation: float = 0.0
    """Radians."""
    shift: float = 0.0
    """Fraction of the image's side, drawn separately for each axis."""
    scale: float = 0.0
    """Fraction of the digit's size."""
    elastic: float = 0.0
    """Standard deviation of a pixel's random displacement along each axis, pixels (Simard et al., 2003). Their alpha of
    34 at a sigma of 4 is 1.4 pixels."""
    elastic_sigma: float = 4.0
    """Smoothness of the displacements, pixels: they are those of white noise under a Gaussian filter of this standard
    deviation."""
    erasing: float = 0.0
    """Probability of erasing a random square (Zhong et al., 2020) of 2 to 20 % of the image's area, by setting it to the
    background."""
    flip: float = 0.0
    """Probability of mirroring the image left to right, before an affine transform or elastic displacement."""

    def __post_init__(self) -> None:
        require(0 <= self.rotation <= math.pi, "rotation must be in [0, π] radians", self.rotation)
        for name, value in (("shift", self.shift), ("scale", self.scale)):
            require(0 <= value <= MAX_DATA_FRACTION, f"{name} must be in [0, {MAX_DATA_FRACTION}]", value)
        low, high = ELASTIC_SIGMAS
        require(low <= self.elastic_sigma <= high, f"elastic_sigma must be in [{low}, {high}]", self.elastic_sigma)
        # Beyond, most images fold over themselves: the displacement's slope has the deviation elastic / (√2 sigma).
        bound, why = min((self.elastic_sigma, "its elastic_sigma"), (MAX_ELASTIC, "pixels"))
        require(0 <= self.elastic <= bound, f"elastic must be in [0, {bound:g}], {why}", self.elastic)
        for name, value in (("erasing", self.erasing), ("flip", self.flip)):
            require(0 <= value <= 1, f"{name} must be in [0, 1]", value)
        # Earlier versions accepted the affine values without augmentation, so saved configs may have them.
        for name in ("elastic", "erasing", "flip"):
            value = getattr(self, name)
            rule = f"{name} needs augment=affine, elastic, erasing or flip"
            require(self.name != "none" or value == 0, rule, f"{name}={value}")


@dataclass(kw_only=True)
class OptimizerConf:
    """The options that all optimizers share."""

    name: str = MISSING
    """`sgd` or `adamw`."""
    lr: float = MISSING
    """Learning rate; under the onecycle schedule, its peak."""
    weight_decay: float = MISSING
    """L2 penalty (sgd) or decoupled decay (adamw), on all parameters but the slopes of PReLU."""

    def __post_init__(self) -> None:
        require(0 < self.lr < math.inf, "lr must be positive and finite", self.lr)
        require(0 <= self.weight_decay < math.inf, "weight_decay must be ≥ 0 and finite", self.weight_decay)


@dataclass(kw_only=True)
class SgdConf(OptimizerConf):
    """Stochastic gradient descent."""

    momentum: float = MISSING
    """Momentum factor. The onecycle schedule overrides it and cycles between 0.85 and 0.95."""
    nesterov: bool = MISSING
    """Whether to use Nesterov momentum; requires a momentum above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, "momentum must be in [0, 1)", self.momentum)
        require(
            self.momentum > 0 or not self.nesterov, "nesterov needs a momentum above 0", f"momentum={self.momentum}"
        )


@dataclass(kw_only=True)
class AdamwConf(OptimizerConf):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    beta1: float = MISSING
    """Decay rate of the gradient's running mean."""
    beta2: float = MISSING
    """Decay rate of the squared gradient's running mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            require(0 <= value < 1, f"{name} must be in [0, 1)", value)


@dataclass(kw_only=True)
class SchedulerConf:
    """The learning rate schedule; `constant` has no further options."""

    name: str = MISSING
    """`constant`, `step` or `onecycle`."""

    @property
    def spans_training(self) -> bool:
        """Whether each step depends on the number of all steps, so that a completed training cannot go on."""
        return False


@dataclass(kw_only=True)
class StepConf(SchedulerConf):
    """Multiplies the learning rate by `gamma` every `step_size` epochs."""

    step_size: int = MISSING
    """Epochs between two decays."""
    gamma: float = MISSING
    """Factor of each decay."""

    def __post_init__(self) -> None:
        require(self.step_size > 0, "step_size must be positive", self.step_size)
        require(0 < self.gamma <= 1, "gamma must be in (0, 1]", self.gamma)


@dataclass(kw_only=True)
class OneCycleConf(SchedulerConf):
    """Cosine warm-up to the peak, then cosine annealing, updated every step (Smith and Topin, 2018)."""

    pct_start: float = MISSING
    """Fraction of all steps spent warming up."""
    div_factor: float = MISSING
    """The initial learning rate is the peak divided by this."""
    final_div_factor: float = MISSING
    """The final learning rate is the initial one divided by this."""

    @property
    def spans_training(self) -> bool:
        """Whether each step depends on the number of all steps: the learning rate falls until the last one."""
        return True

    def __post_init__(self) -> None:
        require(0 < self.pct_start < 1, "pct_start must be in (0, 1)", self.pct_start)
        for name, value in (("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)):
            require(1 <= value < math.inf, f"{name} must be ≥ 1 and finite", value)


@dataclass(kw_only=True)
class TrainingConf:
    """Epochs, batch size, loss and weight averaging."""

    epochs: int = MISSING
    """Number of passes over the training images."""
    batch_size: int = MISSING
    """Images per step; at least 2, because batch normalization on a 1×1 map needs two."""
    label_smoothing: float = MISSING
    """Fraction of each label's probability that is spread evenly over all classes."""
    ema: float = 0.0
    """Decay per step of the exponential moving average of the weights, which is then what is validated and saved
    (`sweeper.training.averaging`); 0 means none."""
    checkpoint_every: int = field(default=1, repr=False)  # not in the fingerprint of a config: it changes no result
    """Epochs between two checkpoints, from which the run is resumed; 0 leaves one only after Ctrl-C."""
    timeout: float | None = field(default=None, repr=False, metadata={RULE: SECONDS})
    """Time, in seconds, after which training ends at the end of the epoch, with what it has; null for no limit. It counts
    from the first epoch that this process trains: a run that is resumed has as much again. It decides how many epochs a
    result has, so it is part of a config's fingerprint where it is given."""

    def __post_init__(self) -> None:
        require(self.epochs > 0, "epochs must be positive", self.epochs)
        require(self.batch_size > 1, "batch_size must be at least 2", self.batch_size)
        require(0 <= self.label_smoothing < 1, "label_smoothing must be in [0, 1)", self.label_smoothing)
        require(0 <= self.ema < 1, "ema must be in [0, 1)", self.ema)
        require(self.checkpoint_every >= 0, "checkpoint_every must not be negative", self.checkpoint_every)
        require(self.timeout is None or 0 < self.timeout < math.inf, f"timeout must be {SECONDS}", self.timeout)

    def check_batch_size(self, images: int) -> None:
        """Raise `ConfigError` for a batch larger than the training set: it would silently mean one step per epoch."""
        rule = f"training.batch_size must be at most the {images:,} training images"
        require(self.batch_size <= images, rule, self.batch_size)


Cost = Literal["parameters", "macs"]
"""What a budget limits."""


@dataclass(kw_only=True)
class BudgetConf:
    """Upper limits on the network's cost; ``None`` means no limit."""

    parameters: int | None = MISSING
    """Trainable parameters, including those of biases and normalization."""
    macs: int | None = MISSING
    """Multiply-accumulates of one image's forward pass."""

    def __post_init__(self) -> None:
        for name, value in (("parameters", self.parameters), ("macs", self.macs)):
            require(value is None or value > 0, f"{name} must be positive, or null for no limit", value)


@dataclass(kw_only=True)
class LoggingConf:
    """Additional loggers of a run's metrics; they do not affect training."""

    name: Literal["none", "tensorboard"] = "none"
    """`tensorboard`: TensorBoard event files in the run's folder."""


@dataclass(kw_only=True)
class ExperimentConf:
    """One complete experiment: the same config on the same machine and version gives the same bits."""

    seed: int = MISSING
    """Seed of weight initialization, image order, dropout and augmentation."""
    device: Literal["auto", "cpu", "cuda"] = MISSING
    """`auto`: cuda if available, else cpu."""
    precision: Literal["auto", "fp32", "bf16"] = MISSING
    """`auto`: bf16 if the hardware multiplies it natively, else fp32."""
    threads: int | str = field(default=MISSING, metadata={RULE: THREADS})
    """Intra-op threads of torch. `auto`: one, see `sweeper.training.device.AUTO_THREADS`."""
    target: float = MISSING
    """Validation accuracy to reach, a fraction. A search stops once a trial reaches it; a run does not stop."""
    model: ModelConf = MISSING
    """The network."""
    data: DataConf = MISSING
    """The images."""
    augment: AugmentConf = MISSING
    """Augmentation of the training images."""
    optimizer: OptimizerConf = MISSING
    """`SgdConf` or `AdamwConf`, selected by `name`."""
    scheduler: SchedulerConf = MISSING
    """`SchedulerConf`, `StepConf` or `OneCycleConf`, selected by `name`."""
    training: TrainingConf = MISSING
    """Epochs, batch size, loss, weight averaging."""
    budget: BudgetConf = MISSING
    """Upper limits on the network's cost."""
    logging: LoggingConf = field(default_factory=LoggingConf)
    """Additional loggers. Configs saved before this section existed load as `none`."""

    def __post_init__(self) -> None:
        _check_seed("seed", self.seed)
        require(
            self.threads == "auto" or (isinstance(self.threads, int) and 0 < self.threads <= MAX_THREADS),
            f"threads must be {THREADS}",
            self.threads,
        )
        require(0 < self.target <= 1, "target must be a fraction in (0, 1]", self.target)


def _check_seed(name: str, seed: int) -> None:
    # The range that torch.Generator.manual_seed accepts without wrapping around.
    require(0 <= seed < 2**63, f"{name} must be in [0, 2^63)", seed)
