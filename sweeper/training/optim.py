"""How weights move: all of them as one tensor, one step a batch, at the learning rate that the schedule has for it.

The rules are torch's own functions. Its `Optimizer` classes are not used: the first call of one imports torch's compiler,
a second and more, for each run and each worker.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from sweeper.config.schema import AdamwConf, OneCycleConf, OptimizerConf, SchedulerConf, SgdConf, StepConf

ADAM_EPS: Final = 1e-8
"""As `torch.optim.AdamW` has it."""
CYCLED_MOMENTUM: Final = (0.85, 0.95)
"""As `torch.optim.lr_scheduler.OneCycleLR` has it: lowest where the learning rate is highest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What a schedule says of one step."""

    lr: float
    momentum: float | None
    """The first beta of Adam; None leaves the optimizer's own."""


class Optimizer:
    """Moves a network's weights. They become views of one tensor, their gradients of another: a step is one operation."""

    def __init__(
        self,
        optimizer: OptimizerConf,
        scheduler: SchedulerConf,
        network: nn.Module,
        *,
        epochs: int,
        steps_per_epoch: int,
    ) -> None:
        """Move that network's weights for so many epochs."""
        self._conf, self._scheduler = optimizer, scheduler
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch
        self._weights, self._gradient = _flatten(network)
        self._moments = [torch.zeros_like(self._weights) for _ in range(2)] if isinstance(optimizer, AdamwConf) else []
        self._velocity: list[Tensor | None] = [None]
        self._adam_step = torch.zeros((), device=self._weights.device)
        self._steps = 0

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self._gradient.zero_()

    @torch.no_grad()
    def step(self) -> float:
        """Move the weights once along their gradient; return the learning rate it went by."""
        now = pace(
            self._scheduler, self._conf.lr, self._steps, epochs=self._epochs, steps_per_epoch=self._steps_per_epoch
        )
        match self._conf:
            case SgdConf() as conf:
                sgd(
                    [self._weights],
                    [self._gradient],
                    self._velocity,
                    fused=True,
                    weight_decay=conf.weight_decay,
                    momentum=conf.momentum if now.momentum is None or conf.momentum == 0 else now.momentum,
                    lr=now.lr,
                    dampening=0.0,
                    nesterov=conf.nesterov,
                    maximize=False,
                )
            case AdamwConf() as conf:
                adamw(
                    [self._weights],
                    [self._gradient],
                    self._moments[:1],
                    self._moments[1:],
                    [],
                    [self._adam_step],
                    fused=True,
                    amsgrad=False,
                    beta1=conf.beta1 if now.momentum is None else now.momentum,
                    beta2=conf.beta2,
                    lr=now.lr,
                    weight_decay=conf.weight_decay,
                    eps=ADAM_EPS,
                    maximize=False,
                )
            case _:
                raise AssertionError(self._conf)
        self._steps += 1
        return now.lr


def pace(scheduler: SchedulerConf, lr: float, step: int, *, epochs: int, steps_per_epoch: int) -> Pace:
    """Return the learning rate and momentum of a step, from 0; as torch's ConstantLR, StepLR and OneCycleLR do."""
    match scheduler:
        case StepConf():
            return Pace(lr=lr * scheduler.gamma ** (step // (scheduler.step_size * steps_per_epoch)), momentum=None)
        case OneCycleConf():
            total = epochs * steps_per_epoch
            peak = scheduler.pct_start * total - 1
            first = lr / scheduler.div_factor
            low, high = CYCLED_MOMENTUM
            if step < peak:
                share = step / peak
                return Pace(lr=_cosine(first, lr, share), momentum=_cosine(high, low, share))
            share = (step - peak) / (total - 1 - peak)
            return Pace(lr=_cosine(lr, first / scheduler.final_div_factor, share), momentum=_cosine(low, high, share))
        case _:
            return Pace(lr=lr, momentum=None)


def _cosine(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _flatten(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Lay the parameters end to end, each in the layout it has, and have them look into the whole; gradients too."""
    parameters = list(network.parameters())
    weights = torch.cat([p.detach().as_strided((p.numel(),), (1,)) for p in parameters])
    gradient = torch.zeros_like(weights)
    offset = 0
    for p in parameters:
        p.data = weights.as_strided(p.shape, p.stride(), offset)
        p.grad = gradient.as_strided(p.shape, p.stride(), offset)
        offset += p.numel()
    return weights, gradient
