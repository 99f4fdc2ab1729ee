"""How weights move: the optimizer and its learning-rate schedule, one step of each per batch."""

from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR, StepLR

from sweeper.schema import AdamwConf, OneCycleConf, OptimizerConf, SchedulerConf, SgdConf, StepConf


def make_optimizer(conf: OptimizerConf, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Make the configured optimizer; fused, which spares a small network most of the step's overhead."""
    match conf:
        case SgdConf():
            return torch.optim.SGD(
                parameters,
                lr=conf.lr,
                momentum=conf.momentum,
                nesterov=conf.nesterov,
                weight_decay=conf.weight_decay,
                fused=True,
            )
        case AdamwConf():
            return torch.optim.AdamW(
                parameters, lr=conf.lr, betas=(conf.beta1, conf.beta2), weight_decay=conf.weight_decay, fused=True
            )
        case _:
            raise AssertionError(conf)


def make_scheduler(
    conf: SchedulerConf, optimizer: torch.optim.Optimizer, *, epochs: int, steps_per_epoch: int
) -> LRScheduler:
    """Make the configured schedule, to be stepped once after every batch."""
    match conf:
        case StepConf():
            return StepLR(optimizer, step_size=conf.step_size * steps_per_epoch, gamma=conf.gamma)
        case OneCycleConf():
            return OneCycleLR(
                optimizer,
                max_lr=optimizer.param_groups[0]["lr"],
                total_steps=epochs * steps_per_epoch,
                pct_start=conf.pct_start,
                div_factor=conf.div_factor,
                final_div_factor=conf.final_div_factor,
                cycle_momentum=_has_momentum(optimizer),
            )
        case _:
            return ConstantLR(optimizer, factor=1.0)


def _has_momentum(optimizer: torch.optim.Optimizer) -> bool:
    """OneCycleLR refuses to cycle a momentum of 0."""
    group = optimizer.param_groups[0]
    return "betas" in group or group.get("momentum", 0) > 0
