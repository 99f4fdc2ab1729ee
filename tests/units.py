"""What tests of the fused modules share: a unit, torch's modules for it, and images."""

import copy
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from sweeper.network.cpu.fused import ConvUnit
from sweeper.network.cpu.torch_private import VERSION

CHECKED = f"sweeper.network.cpu.torch_private was checked against torch {VERSION}, and this is {torch.__version__}"
IMAGES = torch.randn(4, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


Change = Callable[[nn.Sequential], object]


def make_unit(*, relu_first: bool = True, dropout: float = 0.3) -> ConvUnit:
    """A unit of 3 channels in double precision, in either order of norm and ReLU."""
    norm, activation = ("norm", nn.BatchNorm2d(3)), ("activation", nn.ReLU())
    parts = OrderedDict[str, nn.Module](conv=nn.Conv2d(2, 3, 3, padding=1))
    parts.update([activation, norm] if relu_first else [norm, activation])
    if dropout:
        parts["dropout"] = nn.Dropout2d(dropout)
    return ConvUnit(parts).double()


def torchs_modules(unit: ConvUnit) -> nn.Sequential:
    """Copies of the unit's modules, which torch applies one after the other."""
    return nn.Sequential(copy.deepcopy(OrderedDict(unit.named_children())))


def set_attributes(part: str, **values: object) -> Change:
    """A change that sets attributes of a unit's part."""

    def change(unit: nn.Sequential) -> None:
        for name, value in values.items():
            setattr(unit.get_submodule(part), name, value)

    return change
