"""The fused modules compute what torch's own modules compute in every mode, and leave to torch whatever is not plain."""

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import update_bn

from sweeper.network.cpu.fused import MaxPool

from .units import CHECKED, IMAGES, Change, make_unit, set_attributes, torchs_modules


def _is_fused(out: Tensor) -> bool:
    assert out.grad_fn is not None
    return "_ConvUnit" in out.grad_fn.name()


def _steps(unit: nn.Sequential, images: Tensor) -> list[Tensor]:
    """Outputs, gradients and buffers of two training steps."""
    torch.manual_seed(0)
    seen = []
    for _ in range(2):
        leaf = images.clone().requires_grad_()
        unit.zero_grad()
        out = unit(leaf)
        (out * torch.arange(out.numel(), dtype=out.dtype).view_as(out).cos()).sum().backward()
        assert leaf.grad is not None
        seen += [out.detach(), leaf.grad, *(p.grad for p in unit.parameters() if p.grad is not None)]
        seen += [buffer.clone() for buffer in unit.buffers()]
    return seen


def _assert_same(change: Change, *, relu_first: bool = True) -> bool:
    """Whatever `change` does to a unit and to its modules, they train alike; returns whether the kernels did it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        unit = make_unit(relu_first=relu_first)
        modules = torchs_modules(unit)
        for each in (unit, modules):
            torch.manual_seed(2)  # a change may draw weights
            change(each)
        torch.testing.assert_close(_steps(unit, IMAGES), _steps(modules, IMAGES), atol=1e-9, rtol=1e-6)
        return _is_fused(unit(IMAGES))


def _replace(part: str, make: Callable[[], nn.Module]) -> Change:
    return lambda unit: setattr(unit, part, make().double())


def _group(unit: nn.Sequential) -> None:
    unit.conv, unit.norm = nn.Conv2d(2, 4, 3, groups=2).double(), nn.BatchNorm2d(4).double()


STILL_FUSED: dict[str, Change] = {
    "nothing": lambda unit: unit,
    "no dropout": set_attributes("dropout", p=0.0),
    "more dropout": set_attributes("dropout", p=0.6),
    "dropout.eval()": lambda unit: unit.get_submodule("dropout").eval(),
    "dropout removed": lambda unit: delattr(unit, "dropout"),
    "momentum": set_attributes("norm", momentum=0.7),
    "eps": set_attributes("norm", eps=0.3),
    "stride": set_attributes("conv", stride=(2, 1)),
    "padding": set_attributes("conv", padding=(0, 2)),
    "dilation": set_attributes("conv", dilation=(2, 2)),
    "kernel": _replace("conv", lambda: nn.Conv2d(2, 3, (3, 2), bias=False)),
    "groups": _group,
    "conv frozen": lambda unit: unit.get_submodule("conv").requires_grad_(requires_grad=False),
    "norm's parameters frozen": lambda unit: unit.get_submodule("norm").requires_grad_(requires_grad=False),
    "inplace": set_attributes("activation", inplace=True),
    "pickled": lambda unit: unit.__dict__.update(pickle.loads(pickle.dumps(unit)).__dict__),  # noqa: S301 - our own
}
LEFT_TO_TORCH: dict[str, Change] = {
    "norm.eval()": lambda unit: unit.get_submodule("norm").eval(),
    "cumulative average": set_attributes("norm", momentum=None),
    "not tracking": set_attributes("norm", track_running_stats=False),
    "no statistics": _replace("norm", lambda: nn.BatchNorm2d(3, track_running_stats=False)),
    "no scale": _replace("norm", lambda: nn.BatchNorm2d(3, affine=False)),
    "all dropped": set_attributes("dropout", p=1.0),
    "another norm": _replace("norm", lambda: nn.GroupNorm(3, 3)),
    "another activation": _replace("activation", nn.SiLU),
    "another dropout": _replace("dropout", nn.Dropout),
    "no activation": lambda unit: delattr(unit, "activation"),
    "one more": lambda unit: unit.append(nn.Tanh()),
    "circular padding": _replace("conv", lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")),
    "padding by name": _replace("conv", lambda: nn.Conv2d(2, 3, 3, padding="same")),
    "parametrized": lambda unit: parametrizations.weight_norm(unit.get_submodule("conv")),
    "pruned": lambda unit: prune.l1_unstructured(unit.get_submodule("conv"), "weight", amount=0.5),  # type: ignore[no-untyped-call]  # torch leaves it untyped
    "patched": set_attributes("activation", forward=lambda x: x * 2),
    "pre-hook": lambda unit: unit.get_submodule("norm").register_forward_pre_hook(lambda _, x: (x[0] + 1,)),
    "hook": lambda unit: unit.get_submodule("conv").register_forward_hook(lambda *x: x[2] * 2),
    "backward hook": lambda unit: unit.get_submodule("activation").register_full_backward_hook(
        lambda _, grads, __: tuple(g * 2 for g in grads)  # type: ignore[attr-defined]  # a tuple of one
    ),
    "backward pre-hook": lambda unit: unit.get_submodule("norm").register_full_backward_pre_hook(
        lambda _, grads: tuple(g * 3 for g in grads)  # type: ignore[attr-defined]  # likewise
    ),
}


@pytest.mark.parametrize("name", STILL_FUSED)
def test_settings_are_read_at_every_step(name: str) -> None:
    """The kernels follow a setting that changes after the unit was made, in either order of norm and ReLU."""
    for relu_first in (True, False):
        assert _assert_same(STILL_FUSED[name], relu_first=relu_first)


@pytest.mark.parametrize("name", LEFT_TO_TORCH)
def test_what_is_not_plain_is_left_to_torch(name: str) -> None:
    """Another mode, module or a hook gives what torch's modules give."""
    assert not _assert_same(LEFT_TO_TORCH[name]), CHECKED


def test_hooks_of_all_modules_see_the_units_parts() -> None:
    """A hook that is registered for every module is called for the convolution too."""
    seen: list[str] = []
    with register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__)):
        make_unit()(IMAGES)
    assert seen == ["Conv2d", "ReLU", "BatchNorm2d", "Dropout2d", "ConvUnit"], CHECKED


def test_statistics_are_recomputed_as_torch_does() -> None:
    """`update_bn`, which averaged weights need, finds the statistics that it finds for torch's modules."""
    unit = make_unit()
    modules = torchs_modules(unit)
    for each in (unit, modules):
        torch.manual_seed(0)
        update_bn([IMAGES, IMAGES * 3 + 1], each)
    torch.testing.assert_close(unit.state_dict(), modules.state_dict())


@pytest.mark.parametrize(
    "images",
    [
        IMAGES[:0],
        IMAGES[:1],
        IMAGES.float(),
        IMAGES.transpose(2, 3),
        IMAGES.flip(0)[::2],
        IMAGES.contiguous(memory_format=torch.channels_last),
        IMAGES[:1].expand(3, 2, 6, 6),
        IMAGES[0],
        IMAGES[:, :1],
        IMAGES[:, :, :0],
        IMAGES.to("meta"),
        IMAGES.to_sparse(),
    ],
    ids=[
        "empty",
        "one",
        "float32",
        "transposed",
        "strided",
        "last",
        "expanded",
        "3-D",
        "channels",
        "no rows",
        "meta",
        "sparse",
    ],
)
def test_any_input_gives_what_torch_gives(images: Tensor) -> None:
    """Results are torch's, and so is the type of an error."""
    for fused, torchs in ((unit := make_unit(), torchs_modules(unit)), (MaxPool(2), nn.MaxPool2d(2))):
        seen = []
        for network in (fused, torchs):
            torch.manual_seed(0)
            try:
                seen.append(network(images))
            except (RuntimeError, ValueError, NotImplementedError) as error:
                seen.append(type(error))
        if isinstance(seen[1], Tensor) and seen[1].device.type == "cpu":
            torch.testing.assert_close(*seen)
        else:
            assert type(seen[0]) is type(seen[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"stride": 1},
        {"padding": 1},
        {"dilation": 2},
        {"ceil_mode": True},
        {"return_indices": True},
        {"kernel_size": (3, 2)},
    ],
)
def test_pooling_follows_its_settings(settings: dict[str, object]) -> None:
    """A setting that changes after the module was made counts."""
    pools = MaxPool(2), nn.MaxPool2d(2)
    for pool in pools:
        for name, value in settings.items():
            setattr(pool, name, value)
    torch.testing.assert_close(*(pool(IMAGES[..., :5]) for pool in pools))
