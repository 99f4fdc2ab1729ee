"""The training loop: it computes what a plain loop computes, repeats to the bit, and restores torch's settings."""

import functools
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sweeper.config.schema import ExperimentConf, SgdConf
from sweeper.data.splits import Splits, split
from sweeper.design import analyze
from sweeper.errors import DeviceError, TrainingDivergedError
from sweeper.network.build import build
from sweeper.network.cpu.fast_paths import NO_FAST_PATHS
from sweeper.run.experiment import run
from sweeper.training import device, loop
from sweeper.training.evaluate import evaluate
from sweeper.training.loop import fit, make_autocast

from .composed import compose
from .processes import environment
from .trainings import SMALL, fitted, splits_of, tiny_splits

if TYPE_CHECKING:
    from sweeper.records import BatchProgress


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
    splits = splits_of(conf, 650)
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
    stream = fit(build(analyze(conf).plan), tiny_splits(), conf)
    first = next(stream)
    assert first.epoch == 1
    assert next(stream).epoch == 2
    assert 0 <= first.val_accuracy <= 1
    assert first.images_per_second > 0


def test_progress_reports_whole_epochs() -> None:
    """on_batch reaches the last image of every epoch."""
    conf = device.resolve(compose(SMALL))
    seen: list[BatchProgress] = []
    list(fit(build(analyze(conf).plan), splits_of(conf), conf, on_batch=seen.append))
    assert [p.images for p in seen if p.images == p.images_total] == [640, 640]
    assert {p.epoch for p in seen} == {1, 2}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_config_gives_the_same_bits(precision: str) -> None:
    """With dropout and augmentation, the same config gives the same weights to the bit, another seed gives others."""
    if precision == "bf16" and not device.has_bf16("cpu"):
        pytest.skip("this processor has no bf16")
    overrides = [*SMALL, f"precision={precision}", "model.dropout=0.1", "augment=affine"]
    conf = compose(overrides)
    splits = splits_of(conf)
    (first, a), (second, b), (_, c) = (
        fitted(conf, splits),
        fitted(conf, splits),
        fitted(compose([*overrides, "seed=2"]), splits),
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
    list(fit(build(analyze(conf).plan), splits_of(conf, 65), conf, on_batch=seen.append))
    assert seen[-1].images == 64


def test_divergence_ends_the_run() -> None:
    """A far too high learning rate is an error that names the epoch and the rate."""
    conf = device.resolve(compose([*SMALL, "optimizer.lr=1e30", "scheduler=constant", "augment=none"]))
    with pytest.raises(
        TrainingDivergedError, match=r"in epoch 1 it is .* with optimizer.lr=1e\+30: lower the learning rate"
    ):
        list(fit(build(analyze(conf).plan), splits_of(conf), conf))


def test_finite_divergence_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean loss far above that of guessing ends the run, even if it is finite."""
    monkeypatch.setattr(loop, "DIVERGED_FACTOR", 1e-6)
    conf = device.resolve(compose(SMALL))
    with pytest.raises(
        TrainingDivergedError, match="must stay finite and below 1e-06 times that of uniform guessing, but in epoch 1"
    ):
        list(fit(build(analyze(conf).plan), splits_of(conf), conf))


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
        train=tiny_splits().train.take(torch.arange(128 - images, 128)),
        validation=tiny_splits().train,
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
    plain, _ = fitted(compose([*SMALL, "optimizer.lr=1e-9"]), tiny_splits())
    smooth, _ = fitted(compose([*SMALL, "optimizer.lr=1e-9", "training.label_smoothing=0.5"]), tiny_splits())
    assert smooth[0].val_loss == pytest.approx(plain[0].val_loss, rel=1e-3)
    assert smooth[0].train_loss != pytest.approx(plain[0].train_loss, rel=1e-3)


@pytest.mark.gpu
def test_a_run_on_a_gpu_repeats(tmp_path: Path) -> None:
    """On a CUDA device two runs of one config end with the same weights, to the bit."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    conf = compose([*SMALL, "device=cuda"])
    first, second = (run(conf, folder=tmp_path / name).result for name in "ab")
    assert first.weights_sha256 == second.weights_sha256
