"""Whether torch does more at a call than run a module's `forward`: state for which torch has no public name.

A test names the version of torch whose private names these are.
"""

# ruff: noqa: SLF001 - the purpose of this module

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules import module as calls


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


def is_transformed() -> bool:
    """Return whether torch follows every call: global hooks, `torch.func`, forward-mode gradients, dispatch modes."""
    return bool(
        calls._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
    )
