"""Whether torch does more at a call than run a module's `forward`: state for which torch has no public name.

Tests set each of these states and say which version of torch these names were checked against.
"""

# ruff: noqa: SLF001 - the purpose of this module

from typing import Final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as calls

VERSION: Final = "2.14.1"
"""The version of torch that these names were checked against."""


def calls_only_forward(module: nn.Module) -> bool:
    """Return whether calling the module runs its class's `forward` and nothing else, such as a hook."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or "forward" in module.__dict__
    )


def own_tensors(module: nn.Module) -> dict[str, Tensor | None]:
    """Return a module's own parameters and buffers by name; reading each as an attribute takes three times as long."""
    return module._parameters | module._buffers


def is_transformed() -> bool:
    """Return whether torch follows every call: global hooks, `torch.func`, forward-mode gradients, dispatch modes."""
    return bool(
        calls._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
    )


def is_wrapped(tensor: Tensor) -> bool:
    """Return whether a tensor stands for others, such as a batch of gradients, and has no memory of its own."""
    functorch = torch._C._functorch
    return functorch.is_functorch_wrapped_tensor(tensor) or functorch.is_legacy_batchedtensor(tensor)
