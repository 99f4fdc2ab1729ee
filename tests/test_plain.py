"""The fused modules compute what torch's own modules compute in every mode, and leave to torch whatever is not plain."""

import copy
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import update_bn

from sweeper.network.cpu.fused import ConvUnit, MaxPool
from sweeper.network.cpu.torch_private import VERSION

CHECKED = f"sweeper.network.cpu.torch_private was checked against torch {VERSION}, and this is {torch.__version__}"
IMAGES = torch.randn(4, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
Change = Callable[[nn.Sequential], object]


def _unit(*, relu_first: bool = True, dropout: float = 0.3) -> ConvUnit:
    norm, activation = ("norm", nn.BatchNorm2d(3)), ("activation", nn.ReLU())
    parts = OrderedDict[str, nn.Module](conv=nn.Conv2d(2, 3, 3, padding=1))
    parts.update([activation, norm] if relu_first else [norm, activation])
    if dropout:
        parts["dropout"] = nn.Dropout2d(dropout)
    return ConvUnit(parts).double()


def _torchs(unit: ConvUnit) -> nn.Sequential:
    """Copies of the unit's modules, which torch applies one after the other."""
    return nn.Sequential(copy.deepcopy(OrderedDict(unit.named_children())))


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
        unit = _unit(relu_first=relu_first)
        modules = _torchs(unit)
        for each in (unit, modules):
            torch.manual_seed(2)  # a change may draw weights
            change(each)
        torch.testing.assert_close(_steps(unit, IMAGES), _steps(modules, IMAGES), atol=1e-9, rtol=1e-6)
        return _is_fused(unit(IMAGES))


def _set(part: str, **values: object) -> Change:
    def change(unit: nn.Sequential) -> None:
        for name, value in values.items():
            setattr(unit.get_submodule(part), name, value)

    return change


def _replace(part: str, make: Callable[[], nn.Module]) -> Change:
    return lambda unit: setattr(unit, part, make().double())


def _group(unit: nn.Sequential) -> None:
    unit.conv, unit.norm = nn.Conv2d(2, 4, 3, groups=2).double(), nn.BatchNorm2d(4).double()


STILL_FUSED: dict[str, Change] = {
    "nothing": lambda unit: unit,
    "no dropout": _set("dropout", p=0.0),
    "more dropout": _set("dropout", p=0.6),
    "dropout.eval()": lambda unit: unit.get_submodule("dropout").eval(),
    "dropout removed": lambda unit: delattr(unit, "dropout"),
    "momentum": _set("norm", momentum=0.7),
    "eps": _set("norm", eps=0.3),
    "stride": _set("conv", stride=(2, 1)),
    "padding": _set("conv", padding=(0, 2)),
    "dilation": _set("conv", dilation=(2, 2)),
    "kernel": _replace("conv", lambda: nn.Conv2d(2, 3, (3, 2), bias=False)),
    "groups": _group,
    "conv frozen": lambda unit: unit.get_submodule("conv").requires_grad_(requires_grad=False),
    "norm's parameters frozen": lambda unit: unit.get_submodule("norm").requires_grad_(requires_grad=False),
    "inplace": _set("activation", inplace=True),
    "pickled": lambda unit: unit.__dict__.update(pickle.loads(pickle.dumps(unit)).__dict__),  # noqa: S301 - our own
}
LEFT_TO_TORCH: dict[str, Change] = {
    "norm.eval()": lambda unit: unit.get_submodule("norm").eval(),
    "cumulative average": _set("norm", momentum=None),
    "not tracking": _set("norm", track_running_stats=False),
    "no statistics": _replace("norm", lambda: nn.BatchNorm2d(3, track_running_stats=False)),
    "no scale": _replace("norm", lambda: nn.BatchNorm2d(3, affine=False)),
    "all dropped": _set("dropout", p=1.0),
    "another norm": _replace("norm", lambda: nn.GroupNorm(3, 3)),
    "another activation": _replace("activation", nn.SiLU),
    "another dropout": _replace("dropout", nn.Dropout),
    "no activation": lambda unit: delattr(unit, "activation"),
    "one more": lambda unit: unit.append(nn.Tanh()),
    "circular padding": _replace("conv", lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")),
    "padding by name": _replace("conv", lambda: nn.Conv2d(2, 3, 3, padding="same")),
    "parametrized": lambda unit: parametrizations.weight_norm(unit.get_submodule("conv")),
    "pruned": lambda unit: prune.l1_unstructured(unit.get_submodule("conv"), "weight", amount=0.5),  # type: ignore[no-untyped-call]  # torch leaves it untyped
    "patched": _set("activation", forward=lambda x: x * 2),
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
        _unit()(IMAGES)
    assert seen == ["Conv2d", "ReLU", "BatchNorm2d", "Dropout2d", "ConvUnit"], CHECKED


def test_statistics_are_recomputed_as_torch_does() -> None:
    """`update_bn`, which averaged weights need, finds the statistics that it finds for torch's modules."""
    unit = _unit()
    modules = _torchs(unit)
    for each in (unit, modules):
        torch.manual_seed(0)
        update_bn([IMAGES, IMAGES * 3 + 1], each)
    torch.testing.assert_close(unit.state_dict(), modules.state_dict())


@pytest.mark.parametrize("relu_first", [True, False])
def test_a_second_backward_gives_the_same_gradients(relu_first: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """retain_graph=True allows it; without it torch raises its error."""
    unit, pool = _unit(relu_first=relu_first), MaxPool(2)
    leaf = IMAGES.clone().requires_grad_()
    out = pool(unit(leaf)).square().sum()
    inputs = [leaf, *unit.parameters()]
    first = torch.autograd.grad(out, inputs, retain_graph=True)
    second = torch.autograd.grad(out, inputs)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(out, inputs)
    pooled = MaxPool(2)(leaf)
    pooled.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        pooled.sum().backward()


@pytest.mark.parametrize("relu_first", [True, False])
def test_gradients_can_be_differentiated(relu_first: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """create_graph=True gives the second derivatives of torch's modules, for input and weights."""
    unit = _unit(relu_first=relu_first)
    penalties = []
    for network in (nn.Sequential(unit, MaxPool(2)), nn.Sequential(_torchs(unit), nn.MaxPool2d(2))):
        torch.manual_seed(0)
        leaf = IMAGES.clone().requires_grad_()
        gradients = torch.autograd.grad(network(leaf).square().sum(), [leaf, *network.parameters()], create_graph=True)
        penalty = sum((g.square().sum() for g in gradients), torch.zeros(()))
        penalties.append(torch.autograd.grad(penalty, [leaf, *network.parameters()]))
    torch.testing.assert_close(*penalties)


def test_many_gradients_at_once() -> None:
    """A batch of output gradients gives the gradients of each."""
    unit, leaf = _unit(dropout=0), IMAGES.clone().requires_grad_()
    out = unit(leaf)
    directions = torch.randn(2, *out.shape, dtype=out.dtype)
    (batched,) = torch.autograd.grad(out, leaf, directions, is_grads_batched=True, retain_graph=True)
    for direction, gradient in zip(directions, batched, strict=True):
        torch.testing.assert_close(gradient, *torch.autograd.grad(out, leaf, direction, retain_graph=True))


def test_transforms_and_tracing_see_torchs_modules() -> None:
    """`torch.func`, forward-mode gradients, tracing by `torch.jit` and `torch.fx` work in training mode."""
    unit = _unit(dropout=0)
    modules = _torchs(unit)
    for each in (unit, modules):
        _set("norm", track_running_stats=False, running_mean=None, running_var=None)(each)

    def by_func(network: nn.Module) -> Any:
        return torch.func.grad(lambda x: network(x).square().sum())(IMAGES)

    def by_forward_mode(network: nn.Module) -> Any:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(IMAGES, IMAGES.cos())  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return forward_ad.unpack_dual(network(dual)).tangent  # type: ignore[no-untyped-call]  # likewise

    whole = nn.Sequential(_unit(dropout=0), MaxPool(2))
    expected = whole(IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and torch.func uses it
        for transform in (by_func, by_forward_mode):
            torch.testing.assert_close(transform(unit), transform(modules), msg=CHECKED)
        symbolic = torch.fx.symbolic_trace(whole)
        traced = torch.jit.trace(whole, IMAGES, check_trace=False)  # type: ignore[no-untyped-call]  # likewise
    torch.testing.assert_close(symbolic(IMAGES), expected)
    torch.testing.assert_close(traced(IMAGES), expected)
    assert "batch_norm" in str(traced.inlined_graph)
    assert "aten::max_pool2d" in str(traced.inlined_graph)


@pytest.mark.slow
def test_a_unit_is_exported_as_torchs_modules() -> None:
    """`torch.export` sees operations of torch in training mode too."""
    network = nn.Sequential(_unit(dropout=0), MaxPool(2))
    exported = torch.export.export(network, (IMAGES,))
    assert "max_pool2d" in str(exported.graph)
    torch.testing.assert_close(exported.module()(IMAGES), network(IMAGES))


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
    for fused, torchs in ((unit := _unit(), _torchs(unit)), (MaxPool(2), nn.MaxPool2d(2))):
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


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_statistics_are_still_updated(mode: Callable[[], torch.no_grad]) -> None:
    """A forward pass in training mode that records no graph gives torch's output and statistics."""
    unit = _unit()
    modules = _torchs(unit)
    outs = []
    for each in (unit, modules):
        torch.manual_seed(0)
        with mode():
            outs.append(each(IMAGES))
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(unit.state_dict(), modules.state_dict())


def test_weights_changed_in_place_are_noticed() -> None:
    """As in torch, backward raises an error if a weight that it needs has changed since the forward pass."""
    unit = _unit()
    out = unit(IMAGES)
    with torch.no_grad():
        unit.get_parameter("conv.weight").add_(1)
    leaf = IMAGES.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (out.sum() + leaf.sum()).backward()


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
