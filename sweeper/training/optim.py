"""Updates all weights as one tensor, one step per batch, with the learning rate and momentum of the schedule.

The update rules are torch's functional optimizers. torch's `Optimizer` classes are not used: the first call of one
imports torch's compiler, which takes more than a second in each run and each worker.
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
"""The default of `torch.optim.AdamW`."""
CYCLED_MOMENTUM: Final = (0.85, 0.95)
"""The defaults of `torch.optim.lr_scheduler.OneCycleLR`: momentum is lowest where the learning rate is highest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduledStep:
    """What a schedule sets for one step."""

    lr: float
    momentum: float | None
    """SGD's momentum or Adam's first beta; None keeps the optimizer's own."""


class Optimizer:
    """SGD or AdamW under a schedule.

    The network's parameters become views of one tensor, their gradients views of another, so a step is one operation.
    """

    def __init__(
        self,
        optimizer: OptimizerConf,
        scheduler: SchedulerConf,
        network: nn.Module,
        *,
        epochs: int,
        steps_per_epoch: int,
    ) -> None:
        """Prepare to train the network for this many epochs."""
        self._conf, self._scheduler = optimizer, scheduler
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch
        self._weights, self._gradient = _flatten(network)
        self._moments = [torch.zeros_like(self._weights) for _ in range(2)] if isinstance(optimizer, AdamwConf) else []
        self._velocity: list[Tensor | None] = [None]
        self._adam_step = torch.zeros((), device=self._weights.device)
        self._steps = 0

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        self._gradient.zero_()

    @torch.no_grad()
    def step(self) -> float:
        """Update the weights once; return the learning rate of this step."""
        now = schedule(
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


def schedule(scheduler: SchedulerConf, lr: float, step: int, *, epochs: int, steps_per_epoch: int) -> ScheduledStep:
    """Return the learning rate and momentum of a step, counted from 0.

    Same values as torch's ConstantLR, StepLR and OneCycleLR with a base (or peak) learning rate of `lr`.
    """
    match scheduler:
        case StepConf():
            return ScheduledStep(
                lr=lr * scheduler.gamma ** (step // (scheduler.step_size * steps_per_epoch)), momentum=None
            )
        case OneCycleConf():
            total = epochs * steps_per_epoch
            peak = scheduler.pct_start * total - 1
            first = lr / scheduler.div_factor
            low, high = CYCLED_MOMENTUM
            if step < peak:
                share = step / peak
                return ScheduledStep(lr=_cosine(first, lr, share), momentum=_cosine(high, low, share))
            share = (step - peak) / (total - 1 - peak)
            return ScheduledStep(
                lr=_cosine(lr, first / scheduler.final_div_factor, share), momentum=_cosine(low, high, share)
            )
        case _:
            return ScheduledStep(lr=lr, momentum=None)


def _cosine(start: float, end: float, share: float) -> float:
    """Interpolate from start to end along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _flatten(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Copy the parameters into one tensor, each in its memory layout, and make them views of it; likewise gradients."""
    parameters = list(network.parameters())
    weights = torch.cat([p.detach().as_strided((p.numel(),), (1,)) for p in parameters])
    gradient = torch.zeros_like(weights)
    offset = 0
    for p in parameters:
        p.data = weights.as_strided(p.shape, p.stride(), offset)
        p.grad = gradient.as_strided(p.shape, p.stride(), offset)
        offset += p.numel()
    return weights, gradient
