"""The training loop: it computes what a plain loop computes, repeats to the bit, and restores torch's settings."""

import copy
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.optim.swa_utils import AveragedModel, update_bn

from sweeper.config.composition import compose
from sweeper.config.schema import AdamwConf, ExperimentConf, OneCycleConf, SgdConf, StepConf
from sweeper.data.splits import Splits, split
from sweeper.design import analyze
from sweeper.errors import ConfigError, DeviceError, TrainingDivergedError
from sweeper.network.build import build
from sweeper.network.cpu.fast_paths import NO_FAST_PATHS
from sweeper.records import BatchProgress, EpochRecord
from sweeper.run.experiment import run
from sweeper.training import device, loop
from sweeper.training.averaging import WeightAverage
from sweeper.training.evaluate import evaluate
from sweeper.training.loop import fit, make_autocast
from sweeper.training.optim import Optimizer, schedule

from .conftest import environment

SMALL = ["data=mnist5k", "model=compact", "precision=fp32", "training.epochs=2", "training.batch_size=64"]


def _splits(conf: ExperimentConf, images: int = 640) -> Splits:
    """Train on a few embedded digits, so that an epoch takes a fraction of a second."""
    whole = split(conf.data)
    return Splits(
        train=whole.train.take(torch.arange(0, 3500, 3500 // images)[:images]),
        validation=whole.validation,
        validation_is_test=False,
        sha256="",
    )


@functools.cache
def _tiny() -> Splits:
    return _splits(compose(SMALL), 128)


def _fit(conf: ExperimentConf, splits: Splits) -> tuple[list[EpochRecord], torch.nn.Sequential]:
    conf = device.resolve(conf)
    with device.reproducible(conf):
        network = build(analyze(conf).plan)
        return list(fit(network, splits, conf)), network


def _train_plainly(network: torch.nn.Module, splits: Splits, conf: ExperimentConf) -> list[tuple[float, float]]:
    """Train with a textbook loop and torch's own SGD; return each epoch's mean loss and accuracy."""
    assert isinstance(conf.optimizer, SgdConf)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=conf.optimizer.lr,
        momentum=conf.optimizer.momentum,
        nesterov=conf.optimizer.nesterov,
        weight_decay=conf.optimizer.weight_decay,
    )
    order = torch.Generator().manual_seed(conf.seed)
    images_bchw = (splits.train.images_bhw.unsqueeze(1) / 255 - 0.1307) / 0.3081
    epochs = []
    for _ in range(conf.training.epochs):
        total, hits = 0.0, 0
        network.train()
        permutation = torch.randperm(len(images_bchw), generator=order)
        for start in range(0, len(images_bchw), conf.training.batch_size):
            indices = permutation[start : start + conf.training.batch_size]
            logits = network(images_bchw[indices])
            loss = F.cross_entropy(logits, splits.train.labels_b[indices])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            total += loss.item() * len(indices)
            hits += int((logits.argmax(1) == splits.train.labels_b[indices]).sum())
        epochs.append((total / len(images_bchw), hits / len(images_bchw)))
    return epochs


def test_the_engine_computes_what_a_plain_loop_computes() -> None:
    """Two epochs in fp32 give the losses, accuracies and weights of a textbook loop with torch's own SGD.

    The network is smooth, so that rounding stays small: five seeds differ by 2e-7 at most. A weight decay of 1e-4 instead
    of 5e-4 moves the loss by 2e-6, a momentum of 0.89 by 6e-5; a mean of 0.13 instead of 0.1307 moves the weights by 3e-5.
    Of 650 images the last batch has ten. The hand-written kernels are compared with torch's modules in test_fused.py.
    """
    overrides = ["model.norm=none", "model.activation=gelu", "augment=none", "scheduler=constant", "threads=1"]
    conf = device.resolve(compose([*SMALL, *overrides, "seed=3", "optimizer.lr=0.1"]))
    splits = _splits(conf, 650)
    with device.reproducible(conf):
        ours, plain = build(analyze(conf).plan), build(analyze(conf).plan, NO_FAST_PATHS)
        plain.load_state_dict(ours.state_dict())
        metrics = list(fit(ours, splits, conf))
        expected = _train_plainly(plain, splits, conf)
    for epoch, (loss, accuracy) in zip(metrics, expected, strict=True):
        assert epoch.train_loss == pytest.approx(loss, rel=1e-6)
        assert epoch.train_accuracy == pytest.approx(accuracy, abs=1 / 650)
    mine, theirs = (torch.cat([p.detach().flatten() for p in network.parameters()]) for network in (ours, plain))
    assert ((mine - theirs).norm() / theirs.norm()).item() < 2e-6


def test_evaluation_is_the_plain_mean() -> None:
    """Loss and accuracy in batches are those of a single pass over all images with dropout off."""
    conf = device.resolve(compose(["data=mnist5k", "model=notebook", "precision=fp32"]))
    images = split(conf.data).train.take(torch.arange(1234))
    network = build(analyze(conf).plan)
    score = evaluate(network, images, autocast=make_autocast(conf))
    network.eval()
    with torch.no_grad():
        logits = network((images.images_bhw.unsqueeze(1) / 255 - 0.1307) / 0.3081)
    assert score.loss == pytest.approx(F.cross_entropy(logits, images.labels_b).item(), rel=1e-4)
    assert score.accuracy == pytest.approx((logits.argmax(1) == images.labels_b).float().mean().item(), abs=1e-6)


def test_epochs_are_a_stream() -> None:
    """Each epoch is yielded when it ends, numbered from 1."""
    conf = device.resolve(compose([*SMALL, "training.epochs=50"]))
    stream = fit(build(analyze(conf).plan), _tiny(), conf)
    first = next(stream)
    assert first.epoch == 1
    assert next(stream).epoch == 2
    assert 0 <= first.val_accuracy <= 1
    assert first.images_per_second > 0


def test_progress_reports_whole_epochs() -> None:
    """on_batch reaches the last image of every epoch."""
    conf = device.resolve(compose(SMALL))
    seen: list[BatchProgress] = []
    list(fit(build(analyze(conf).plan), _splits(conf), conf, on_batch=seen.append))
    assert [p.images for p in seen if p.images == p.images_total] == [640, 640]
    assert {p.epoch for p in seen} == {1, 2}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_config_gives_the_same_bits(precision: str) -> None:
    """With dropout and augmentation, the same config gives the same weights to the bit, another seed gives others."""
    if precision == "bf16" and not device.has_bf16("cpu"):
        pytest.skip("this processor has no bf16")
    overrides = [*SMALL, f"precision={precision}", "model.dropout=0.1", "augment=affine"]
    conf = compose(overrides)
    splits = _splits(conf)
    (first, a), (second, b), (_, c) = (
        _fit(conf, splits),
        _fit(conf, splits),
        _fit(compose([*overrides, "seed=2"]), splits),
    )
    assert [m.train_loss for m in first] == [m.train_loss for m in second]
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))


def test_torch_is_left_as_it_was() -> None:
    """A run restores the caller's threads and random state, even if it fails."""
    conf = device.resolve(compose(["threads=1", "seed=5"]))
    torch.manual_seed(99)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with suppress(ZeroDivisionError), device.reproducible(conf):
            assert torch.get_num_threads() == 1
            torch.rand(3)
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)


def test_a_last_batch_of_one_image_is_left_out() -> None:
    """Batch normalisation on a 1×1 map cannot use a single image: of 65 images in batches of 64, 64 are trained on."""
    conf = device.resolve(compose([*SMALL, "model=notebook", "training.epochs=1"]))
    seen: list[BatchProgress] = []
    list(fit(build(analyze(conf).plan), _splits(conf, 65), conf, on_batch=seen.append))
    assert seen[-1].images == 64


def test_divergence_ends_the_run() -> None:
    """A far too high learning rate is an error that names the epoch and the rate."""
    conf = device.resolve(compose([*SMALL, "optimizer.lr=1e30", "scheduler=constant", "augment=none"]))
    with pytest.raises(
        TrainingDivergedError, match=r"in epoch 1 it is .* with optimizer.lr=1e\+30: lower the learning rate"
    ):
        list(fit(build(analyze(conf).plan), _splits(conf), conf))


def test_finite_divergence_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean loss far above that of guessing ends the run, even if it is finite."""
    monkeypatch.setattr(loop, "DIVERGED_FACTOR", 1e-6)
    conf = device.resolve(compose(SMALL))
    with pytest.raises(
        TrainingDivergedError, match="must stay finite and below 1e-06 times that of uniform guessing, but in epoch 1"
    ):
        list(fit(build(analyze(conf).plan), _splits(conf), conf))


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


@pytest.mark.slow
def test_a_run_never_imports_torchs_compiler(tmp_path: Path) -> None:
    """Nothing is compiled, and the import would take more than a second in every run and worker."""
    code = (
        "import sys, sweeper; sweeper.run(sweeper.compose(sys.argv[1:])); "
        "sys.exit(any(name.startswith(('torch._dynamo', 'torch._inductor')) for name in sys.modules))"
    )
    overrides = [*SMALL, "augment=affine", "model.dropout=0.1", "training.epochs=1"]
    done = subprocess.run([sys.executable, "-c", code, *overrides], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("scheduler", ["constant", "step", "onecycle"])
def test_every_optimizer_goes_with_every_schedule(optimizer: str, scheduler: str) -> None:
    """Each pair trains for two epochs of two steps; an epoch's record has the learning rate of its last step."""
    conf = compose([*SMALL, f"optimizer={optimizer}", f"scheduler={scheduler}"])
    metrics, _ = _fit(conf, _tiny())
    lrs = [schedule(conf.scheduler, conf.optimizer.lr, step, epochs=2, steps_per_epoch=2).lr for step in (1, 3)]
    assert [epoch.lr for epoch in metrics] == lrs


@functools.cache
def _one_epoch() -> ExperimentConf:
    return compose([*SMALL, "augment=none", "training.epochs=1"])


@settings(max_examples=20)
@given(st.integers(2, 128), st.integers(2, 64))
def test_batches_cover_all_images_but_a_last_batch_of_one(images: int, batch_size: int) -> None:
    """All batches have `batch_size` images, except a smaller last one, which is skipped if it has a single image."""
    assume(batch_size <= images)
    conf = device.resolve(_one_epoch())
    conf = replace(conf, training=replace(conf.training, batch_size=batch_size))
    network = _CountsBatches()
    splits = Splits(
        train=_tiny().train.take(torch.arange(128 - images, 128)),
        validation=_tiny().train,
        validation_is_test=False,
        sha256="",
    )
    list(fit(network, splits, conf))
    remainder = images % batch_size
    assert network.sizes == [batch_size] * (images // batch_size) + ([remainder] if remainder > 1 else [])


class _CountsBatches(torch.nn.Module):
    """A network of ten weights that records the size of every training batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(10))
        self.sizes: list[int] = []

    def forward(self, images_bchw: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.sizes.append(len(images_bchw))
        return self.weight.expand(len(images_bchw), 10)


def test_resolving_leaves_no_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every auto becomes what this machine has, and explicit values stay; bf16 is an error where it is missing."""
    conf = device.resolve(compose())
    assert conf.device in {"cpu", "cuda"}
    assert conf.precision in {"fp32", "bf16"}
    assert isinstance(conf.threads, int)
    assert device.resolve(compose(["precision=fp32", "threads=3"])).threads == 3
    monkeypatch.setattr(device, "has_bf16", lambda _: False)
    assert device.resolve(compose()).precision == "fp32"
    with pytest.raises(DeviceError, match=r"precision=bf16 needs a c.* that multiplies bfloat16"):
        device.resolve(compose(["precision=bf16"]))


def test_label_smoothing_raises_the_training_loss_alone() -> None:
    """Smoothing changes the training loss; the validation loss stays plain cross-entropy, so that runs are comparable."""
    plain, _ = _fit(compose([*SMALL, "optimizer.lr=1e-9"]), _tiny())
    smooth, _ = _fit(compose([*SMALL, "optimizer.lr=1e-9", "training.label_smoothing=0.5"]), _tiny())
    assert smooth[0].val_loss == pytest.approx(plain[0].val_loss, rel=1e-3)
    assert smooth[0].train_loss != pytest.approx(plain[0].train_loss, rel=1e-3)


def _warmed_up(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """An averaging function for torch's AveragedModel: its first call copies, the n-th later one is capped."""

    def average(averaged: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        n = int(updates)
        d = min(decay, (1 + n) / (10 + n))
        return d * averaged + (1 - d) * current

    return average


def test_the_average_is_that_of_torchs_averaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each epoch the network has the weights of an AveragedModel that was updated after every step, and the
    statistics of torch's update_bn on the epoch's images; the next epoch trains on from the last step's weights.
    """
    conf = device.resolve(compose([*SMALL, "training.ema=0.9", "training.batch_size=32"]))
    plain = replace(conf, training=replace(conf.training, ema=0.0))
    with device.reproducible(conf):
        ours, theirs = build(analyze(conf).plan), build(analyze(conf).plan)
        theirs.load_state_dict(ours.state_dict())
        theirs_by_torch = AveragedModel(theirs, avg_fn=_warmed_up(0.9))
        step = Optimizer.step

        def step_and_average(optimizer: Optimizer) -> float:
            lr = step(optimizer)
            theirs_by_torch.update_parameters(theirs)
            return lr

        images: list[torch.Tensor] = []
        theirs.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]) if theirs.training else None)
        with monkeypatch.context() as patch:
            patch.setattr(Optimizer, "step", step_and_average)
            stream = fit(theirs, _tiny(), plain)
            first = next(stream)
            averages = [copy.deepcopy(theirs_by_torch.module)]
            list(stream)
            averages.append(theirs_by_torch.module)
        epochs = []
        for at, record in enumerate(fit(ours, _tiny(), conf)):
            expected = averages[at]
            update_bn(images[4 * at : 4 * at + 4], expected)
            for name, value in expected.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-5, rtol=1e-4)
            epochs.append(record)
    assert epochs[0].train_loss == first.train_loss
    assert epochs[0].val_loss != first.val_loss
    score = evaluate(ours, _tiny().validation, autocast=make_autocast(conf))
    assert score.loss == epochs[-1].val_loss


@settings(max_examples=20)
@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(1, 60))
def test_an_average_of_equal_weights_is_these_weights(decay: float, steps: int) -> None:
    """The average has no bias toward zero, and is a mean: it lies between the least and the greatest weights."""
    network = torch.nn.Linear(3, 2)
    weights = torch.full((8,), 5.0)
    average = WeightAverage(network, weights, decay)
    for _ in range(steps):
        average.update()
    average.apply([], autocast=torch.autocast("cpu", enabled=False))
    assert torch.equal(weights, torch.full((8,), 5.0))
    average.restore()
    for step in range(steps):
        weights.fill_(step)
        average.update()
    average.apply([], autocast=torch.autocast("cpu", enabled=False))
    assert 0 <= weights.min().item() <= weights.max().item() <= max(5, steps - 1)
    average.restore()
    assert weights[0].item() == steps - 1


def test_a_decay_too_high_for_few_steps_does_no_harm() -> None:
    """With a decay of 0.9999 and 80 steps the average is of the last steps, not of the first: it predicts as well."""
    plain, _ = _fit(compose([*SMALL, "training.epochs=8"]), _splits(compose(SMALL)))
    averaged, _ = _fit(compose([*SMALL, "training.epochs=8", "training.ema=0.9999"]), _splits(compose(SMALL)))
    assert averaged[-1].train_loss == plain[-1].train_loss
    assert averaged[-1].val_accuracy > plain[-1].val_accuracy - 0.02
    assert averaged[-1].val_accuracy > 0.8


def test_the_saved_weights_are_the_average(tmp_path: Path) -> None:
    """model.pt predicts what the last epoch's validation and the result say, and the run repeats to the bit."""
    overrides = ["data=mnist5k", "model=compact", "training.epochs=2", "training.ema=0.95", "data.validation_size=3000"]
    conf = compose([*overrides, "augment=affine", "augment.elastic=1", "augment.erasing=0.5", "model.dropout=0.1"])
    first, second = (run(conf, folder=tmp_path / name) for name in "ab")
    assert first.result.weights_sha256 == second.result.weights_sha256
    assert [epoch.val_loss for epoch in first.epochs] == [epoch.val_loss for epoch in second.epochs]
    network = build(analyze(first.conf).plan)
    network.load_state_dict(torch.load(tmp_path / "a" / "model.pt", weights_only=True))
    score = evaluate(network, split(first.conf.data).validation, autocast=make_autocast(first.conf))
    assert score.accuracy == first.value == first.result.val_accuracy
    with pytest.raises(ConfigError, match=r"training.ema must be in \[0, 1\), but got 1"):
        compose(["training.ema=1"])


@pytest.mark.gpu
def test_a_run_on_a_gpu_repeats(tmp_path: Path) -> None:
    """On a CUDA device two runs of one config end with the same weights, to the bit."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    conf = compose([*SMALL, "device=cuda"])
    first, second = (run(conf, folder=tmp_path / name).result for name in "ab")
    assert first.weights_sha256 == second.weights_sha256
