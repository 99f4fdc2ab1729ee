"""Optimizers and schedules: their weights are those of torch's classes, in every combination."""

from collections.abc import Iterator

import pytest
import torch

from sweeper.config.schema import AdamwConf, ExperimentConf, OneCycleConf, SgdConf, StepConf
from sweeper.training.optim import Optimizer, schedule

from .composed import compose
from .trainings import SMALL, fitted, tiny_splits

EPOCHS, STEPS = 6, 10


def _torch_steps(conf: ExperimentConf, weights: torch.nn.Parameter) -> Iterator[None]:
    """Step torch's own optimizer and scheduler; the gradient is the weights themselves."""
    optimizer: torch.optim.Optimizer
    match conf.optimizer:
        case SgdConf(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay):
            optimizer = torch.optim.SGD([weights], lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)
        case AdamwConf(lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay):
            optimizer = torch.optim.AdamW([weights], lr=lr, betas=(beta1, beta2), weight_decay=decay)
        case _:
            raise AssertionError
    scheduler: torch.optim.lr_scheduler.LRScheduler
    match conf.scheduler:
        case StepConf(step_size=size, gamma=gamma):
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=size * STEPS, gamma=gamma)
        case OneCycleConf(pct_start=start, div_factor=first, final_div_factor=last):
            scheduler = torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=conf.optimizer.lr,
                total_steps=EPOCHS * STEPS,
                pct_start=start,
                div_factor=first,
                final_div_factor=last,
                cycle_momentum="betas" in optimizer.param_groups[0] or optimizer.param_groups[0]["momentum"] > 0,
            )
        case _:
            scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    for _ in range(EPOCHS * STEPS):
        weights.grad = weights.detach().clone()
        optimizer.step()
        scheduler.step()
        yield


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "sgd optimizer.momentum=0 optimizer.nesterov=false"])
@pytest.mark.parametrize("scheduler", ["constant", "step", "onecycle scheduler.pct_start=0.25"])
def test_weights_are_those_of_torchs_optimizers(optimizer: str, scheduler: str) -> None:
    """Every optimizer under every schedule gives the same weights as torch's own classes, step by step."""
    overrides = [*f"optimizer={optimizer} scheduler={scheduler}".split(), f"training.epochs={EPOCHS}"]
    conf = compose([*overrides, *(["scheduler.step_size=2"] if scheduler == "step" else [])])
    network = torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    theirs = torch.nn.Parameter(torch.cat([p.detach().clone().flatten() for p in network.parameters()]))
    ours = Optimizer(conf.optimizer, conf.scheduler, network, epochs=EPOCHS, steps_per_epoch=STEPS)
    for _ in _torch_steps(conf, theirs):
        ours.zero_grad()
        sum((p**2).sum() / 2 for p in network.parameters()).backward()  # type: ignore[union-attr]  # a tensor, not 0
        ours.step()
        mine = torch.cat([p.detach().flatten() for p in network.parameters()])
        torch.testing.assert_close(mine, theirs.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_slopes_of_prelu_do_not_decay(optimizer: str) -> None:
    """With a weight decay, slopes are those of an optimizer without one; all other weights are those with it."""
    networks = []
    for overrides in ([], ["optimizer.weight_decay=0"], ["optimizer.weight_decay=0.5"]):
        conf = compose([f"optimizer={optimizer}", "scheduler=constant", "optimizer.lr=0.1", *overrides])
        network = torch.nn.Sequential(torch.nn.PReLU(2, 0.7), torch.nn.Conv2d(2, 3, 3), torch.nn.PReLU(3, -0.2))
        torch.nn.init.constant_(network.get_parameter("1.weight"), 0.3)
        ours = Optimizer(conf.optimizer, conf.scheduler, network, epochs=1, steps_per_epoch=2)
        for _ in range(2):
            ours.zero_grad()
            sum((p**3).sum() for p in network.parameters()).backward()  # type: ignore[union-attr]  # a tensor, not 0
            ours.step()
        networks.append(dict(network.named_parameters()))
    plain, still, decaying = networks
    for name in ("0.weight", "2.weight"):
        assert torch.equal(plain[name], still[name])
        assert torch.equal(plain[name], decaying[name])
        assert not torch.equal(
            plain[name], torch.nn.PReLU(len(plain[name]), 0.7 if name == "0.weight" else -0.2).weight
        )
    assert still["1.weight"].mean() > plain["1.weight"].mean() > decaying["1.weight"].mean()


def test_schedules_set_the_learning_rate() -> None:
    """Constant stays; step multiplies by gamma every step_size epochs; onecycle starts low, peaks at lr, ends near 0."""

    def lrs(name: str, lr: float) -> list[float]:
        conf = compose([f"scheduler={name}"]).scheduler
        if isinstance(conf, StepConf):
            conf.step_size = 2
        return [schedule(conf, lr, step, epochs=EPOCHS, steps_per_epoch=STEPS).lr for step in range(EPOCHS * STEPS)]

    assert set(lrs("constant", 0.05)) == {0.05}
    steps = lrs("step", 1)
    assert [steps[0], steps[19], steps[20], steps[40]] == pytest.approx([1, 1, 0.1, 0.01])
    cycle = lrs("onecycle", 0.1)
    assert schedule(compose(["scheduler.pct_start=0.5"]).scheduler, 0.1, 0, epochs=1, steps_per_epoch=2).lr == 0.1
    assert cycle[0] == pytest.approx(0.1 / 25)
    assert max(cycle) == pytest.approx(0.1, rel=0.01)
    assert cycle.index(max(cycle)) == pytest.approx(0.3 * 60, abs=1)
    assert cycle[-1] == pytest.approx(0.1 / 25 / 1e4)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("scheduler", ["constant", "step", "onecycle"])
def test_every_optimizer_goes_with_every_schedule(optimizer: str, scheduler: str) -> None:
    """Each pair trains for two epochs of two steps; an epoch's record has the learning rate of its last step."""
    conf = compose([*SMALL, f"optimizer={optimizer}", f"scheduler={scheduler}"])
    metrics, _ = fitted(conf, tiny_splits())
    lrs = [schedule(conf.scheduler, conf.optimizer.lr, step, epochs=2, steps_per_epoch=2).lr for step in (1, 3)]
    assert [epoch.lr for epoch in metrics] == lrs
