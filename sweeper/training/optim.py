"""How weights move: the optimizer and its learning-rate schedule, one step of each per batch."""

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR, StepLR

from sweeper.schema import AdamwConf, OneCycleConf, OptimizerConf, SchedulerConf, SgdConf, StepConf


def make_optimizer(conf: OptimizerConf, network: nn.Module) -> torch.optim.Optimizer:
    """Make the configured optimizer, over all weights as one tensor: a small network's step is overhead, else.

    The network's parameters and their gradients become views of that tensor and its gradient, so gradients have to be
    zeroed in place, ``zero_grad(set_to_none=False)``.
    """
    flat = [_flatten(network)]
    match conf:
        case SgdConf():
            return torch.optim.SGD(
                flat,
                lr=conf.lr,
                momentum=conf.momentum,
                nesterov=conf.nesterov,
                weight_decay=conf.weight_decay,
                fused=True,
            )
        case AdamwConf():
            return torch.optim.AdamW(
                flat, lr=conf.lr, betas=(conf.beta1, conf.beta2), weight_decay=conf.weight_decay, fused=True
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


def _flatten(network: nn.Module) -> nn.Parameter:
    """Lay the parameters end to end, each in the layout it has, and have them look into the whole."""
    parameters = list(network.parameters())
    flat = nn.Parameter(torch.cat([p.detach().as_strided((p.numel(),), (1,)) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    offset = 0
    for p in parameters:
        p.data = flat.detach().as_strided(p.shape, p.stride(), offset)
        p.grad = flat.grad.as_strided(p.shape, p.stride(), offset)
        offset += p.numel()
    return flat
