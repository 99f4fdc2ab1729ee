"""The optimizers and learning rate schedules: all weights that decay are updated as one tensor, with one operation.

The update rules are torch's functional optimizers. torch's `Optimizer` classes are not used: the first call of one
imports torch's compiler, which takes more than a second in each run and each worker.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from sweeper.config.schema import AdamwConf, OneCycleConf, OptimizerConf, SchedulerConf, SgdConf, StepConf

ADAM_EPS: Final = 1e-8
"""The default of `torch.optim.AdamW`."""
CYCLED_MOMENTUM: Final = (0.85, 0.95)
"""Least and greatest momentum, as in `torch.optim.lr_scheduler.OneCycleLR`: least where the learning rate peaks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduledStep:
    """The values that a schedule sets for one step."""

    lr: float
    momentum: float | None
    """SGD's momentum or Adam's first beta; None keeps the optimizer's own."""


class _Part:
    """Weights that are updated together, their gradient and the optimizer's state."""

    def __init__(self, weights: Tensor, gradient: Tensor, weight_decay: float, *, moments: int) -> None:
        self.weights, self.gradient, self.weight_decay = weights, gradient, weight_decay
        self.moments = [torch.zeros_like(weights) for _ in range(moments)]
        self.velocity: list[Tensor | None] = [None]
        self.adam_step = torch.zeros((), device=weights.device)


class Optimizer:
    """SGD or AdamW with a learning rate schedule.

    The network's parameters become views of one tensor, their gradients views of another, so a step is one operation; a
    second one updates the slopes of PReLU. These do not decay, which would make them ReLUs (He et al., 2015). Move the
    network to its device and memory format before.
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
        """Flatten the network's parameters into `weights`; the schedule spans `epochs` times `steps_per_epoch` steps."""
        self._conf, self._scheduler = optimizer, scheduler
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch
        self.weights, self._gradient, decaying = _flatten(network)
        moments = 2 if isinstance(optimizer, AdamwConf) else 0
        self._parts = [
            _Part(self.weights[part], self._gradient[part], decay, moments=moments)
            for part, decay in ((slice(decaying), optimizer.weight_decay), (slice(decaying, None), 0.0))
            if len(self.weights[part])
        ]
        self._steps = 0

    def state(self) -> dict[str, Any]:
        """Return what the steps have left, the weights excluded: their number, and each part's moments or velocity."""
        parts = [
            {"moments": part.moments, "velocity": part.velocity, "adam_step": part.adam_step} for part in self._parts
        ]
        return {"steps": self._steps, "parts": parts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. Raises `ValueError`, `KeyError` or `TypeError` if it is not one of this optimizer's kind."""
        for part, saved in zip(self._parts, state["parts"], strict=True):
            part.moments = [_like(part.weights, moment) for moment in saved["moments"]]
            part.velocity = [None if each is None else _like(part.weights, each) for each in saved["velocity"]]
            part.adam_step = _like(part.adam_step, saved["adam_step"])
        self._steps = int(state["steps"])

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        self._gradient.zero_()

    @torch.no_grad()
    def step(self) -> float:
        """Update the weights once; return the learning rate of this step."""
        now = schedule(
            self._scheduler, self._conf.lr, self._steps, epochs=self._epochs, steps_per_epoch=self._steps_per_epoch
        )
        for part in self._parts:
            self._update(part, now)
        self._steps += 1
        return now.lr

    def _update(self, part: _Part, now: ScheduledStep) -> None:
        match self._conf:
            case SgdConf() as conf:
                sgd(
                    [part.weights],
                    [part.gradient],
                    part.velocity,
                    fused=True,
                    weight_decay=part.weight_decay,
                    momentum=conf.momentum if now.momentum is None or conf.momentum == 0 else now.momentum,
                    lr=now.lr,
                    dampening=0.0,
                    nesterov=conf.nesterov,
                    maximize=False,
                )
            case AdamwConf() as conf:
                adamw(
                    [part.weights],
                    [part.gradient],
                    part.moments[:1],
                    part.moments[1:],
                    [],
                    [part.adam_step],
                    fused=True,
                    amsgrad=False,
                    beta1=conf.beta1 if now.momentum is None else now.momentum,
                    beta2=conf.beta2,
                    lr=now.lr,
                    weight_decay=part.weight_decay,
                    eps=ADAM_EPS,
                    maximize=False,
                )
            case _:
                raise AssertionError(self._conf)


def schedule(scheduler: SchedulerConf, lr: float, step: int, *, epochs: int, steps_per_epoch: int) -> ScheduledStep:
    """Return the learning rate and momentum of a step, counted from 0.

    `constant` keeps `lr`. The others give the values of torch's StepLR and OneCycleLR with `lr` as base and as peak.
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
                fraction = step / peak
                return ScheduledStep(lr=_cosine(first, lr, fraction), momentum=_cosine(high, low, fraction))
            fraction = (step - peak) / (total - 1 - peak)
            return ScheduledStep(
                lr=_cosine(lr, first / scheduler.final_div_factor, fraction), momentum=_cosine(low, high, fraction)
            )
        case _:
            return ScheduledStep(lr=lr, momentum=None)


def _cosine(start: float, end: float, fraction: float) -> float:
    """Interpolate from start to end along half a cosine period."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))


def _like(tensor: Tensor, saved: Tensor) -> Tensor:
    """Return a saved tensor on the device of `tensor`. Raises `ValueError` if its shape or type differs."""
    if saved.shape != tensor.shape or saved.dtype != tensor.dtype:
        raise ValueError(f"{tuple(saved.shape)} of {saved.dtype}, not {tuple(tensor.shape)} of {tensor.dtype}")
    return saved.to(tensor.device)


def _flatten(network: nn.Module) -> tuple[Tensor, Tensor, int]:
    """Make the parameters views of one tensor, each in its memory format, and their gradients views of another.

    Returns both tensors, and how many of their first values are of parameters that decay.
    """
    slopes = {id(module.weight) for module in network.modules() if isinstance(module, nn.PReLU)}
    parameters = sorted(network.parameters(), key=lambda p: id(p) in slopes)
    weights = torch.cat([p.detach().as_strided((p.numel(),), (1,)) for p in parameters])
    gradient = torch.zeros_like(weights)
    offset = 0
    for p in parameters:
        p.data = weights.as_strided(p.shape, p.stride(), offset)
        p.grad = gradient.as_strided(p.shape, p.stride(), offset)
        offset += p.numel()
    return weights, gradient, sum(p.numel() for p in parameters if id(p) not in slopes)
