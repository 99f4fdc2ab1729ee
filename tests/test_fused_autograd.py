"""The fused modules under autograd and in torch's transforms, tracing and export: what torch's own modules give."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from sweeper.network.cpu.fused import MaxPool

from .units import CHECKED, IMAGES, make_unit, set_attributes, torchs_modules


@pytest.mark.parametrize("relu_first", [True, False])
def test_a_second_backward_gives_the_same_gradients(relu_first: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """retain_graph=True allows it; without it torch raises its error."""
    unit, pool = make_unit(relu_first=relu_first), MaxPool(2)
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
    unit = make_unit(relu_first=relu_first)
    penalties = []
    for network in (nn.Sequential(unit, MaxPool(2)), nn.Sequential(torchs_modules(unit), nn.MaxPool2d(2))):
        torch.manual_seed(0)
        leaf = IMAGES.clone().requires_grad_()
        gradients = torch.autograd.grad(network(leaf).square().sum(), [leaf, *network.parameters()], create_graph=True)
        penalty = sum((g.square().sum() for g in gradients), torch.zeros(()))
        penalties.append(torch.autograd.grad(penalty, [leaf, *network.parameters()]))
    torch.testing.assert_close(*penalties)


def test_many_gradients_at_once() -> None:
    """A batch of output gradients gives the gradients of each."""
    unit, leaf = make_unit(dropout=0), IMAGES.clone().requires_grad_()
    out = unit(leaf)
    directions = torch.randn(2, *out.shape, dtype=out.dtype)
    (batched,) = torch.autograd.grad(out, leaf, directions, is_grads_batched=True, retain_graph=True)
    for direction, gradient in zip(directions, batched, strict=True):
        torch.testing.assert_close(gradient, *torch.autograd.grad(out, leaf, direction, retain_graph=True))


def test_transforms_and_tracing_see_torchs_modules() -> None:
    """`torch.func`, forward-mode gradients, tracing by `torch.jit` and `torch.fx` work in training mode."""
    unit = make_unit(dropout=0)
    modules = torchs_modules(unit)
    for each in (unit, modules):
        set_attributes("norm", track_running_stats=False, running_mean=None, running_var=None)(each)

    def by_func(network: nn.Module) -> Any:
        return torch.func.grad(lambda x: network(x).square().sum())(IMAGES)

    def by_forward_mode(network: nn.Module) -> Any:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(IMAGES, IMAGES.cos())  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return forward_ad.unpack_dual(network(dual)).tangent  # type: ignore[no-untyped-call]  # likewise

    whole = nn.Sequential(make_unit(dropout=0), MaxPool(2))
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
    network = nn.Sequential(make_unit(dropout=0), MaxPool(2))
    exported = torch.export.export(network, (IMAGES,))
    assert "max_pool2d" in str(exported.graph)
    torch.testing.assert_close(exported.module()(IMAGES), network(IMAGES))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_statistics_are_still_updated(mode: Callable[[], torch.no_grad]) -> None:
    """A forward pass in training mode that records no graph gives torch's output and statistics."""
    unit = make_unit()
    modules = torchs_modules(unit)
    outs = []
    for each in (unit, modules):
        torch.manual_seed(0)
        with mode():
            outs.append(each(IMAGES))
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(unit.state_dict(), modules.state_dict())


def test_weights_changed_in_place_are_noticed() -> None:
    """As in torch, backward raises an error if a weight that it needs has changed since the forward pass."""
    unit = make_unit()
    out = unit(IMAGES)
    with torch.no_grad():
        unit.get_parameter("conv.weight").add_(1)
    leaf = IMAGES.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (out.sum() + leaf.sum()).backward()
