"""The state of a training at the end of an epoch: all that the next epoch depends on, as plain tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn

from sweeper.config.schema import ExperimentConf
from sweeper.data.augment import draw_variations
from sweeper.data.images import LabelledImages
from sweeper.errors import RunFolderError
from sweeper.training.averaging import WeightAverage
from sweeper.training.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """A copy of everything that a training changes, on the CPU. From it the training goes on to the same bits."""

    epoch: int
    """The number of completed epochs."""
    network: dict[str, Tensor]
    """The network's state dict, as it was validated."""
    optimizer: dict[str, Any]
    """`Optimizer.state`."""
    average: dict[str, Any]
    """`WeightAverage.state`."""
    generators: dict[str, Tensor]
    """States of the generators: `order` of images, `variation` of images, torch's own on the `cpu` and perhaps `cuda`."""
    right_n: Tensor | None
    """bool, ``[n]``: the validation images that the epoch predicted correctly; None without validation."""

    def to_dict(self) -> dict[str, Any]:
        """Return dictionaries, lists, numbers and tensors, which ``torch.load`` reads with ``weights_only=True``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Return the state in `to_dict`'s form. Raises `KeyError` if a part is missing."""
        return cls(**{field.name: saved[field.name] for field in fields(cls)})


class Training:
    """What a training changes, besides torch's own generators: all of it goes into a `TrainingState`."""

    def __init__(self, network: nn.Module, conf: ExperimentConf, *, steps_per_epoch: int) -> None:
        """Begin a training of `network`, which is on its device; the network's parameters become views of one tensor."""
        self.epoch = 0
        """The number of completed epochs."""
        self.network = network
        self.optimizer = Optimizer(
            conf.optimizer, conf.scheduler, network, epochs=conf.training.epochs, steps_per_epoch=steps_per_epoch
        )
        self.average = WeightAverage(network, self.optimizer.weights, conf.training.ema)
        self._augment = conf.augment
        self._generators = {name: Generator().manual_seed(conf.seed) for name in ("order", "variation")}
        self._right_n: Tensor | None = None

    def draw(self, images: LabelledImages) -> tuple[LabelledImages, Tensor]:
        """Draw the next epoch's order of images and their variations: ``[images, columns]``, see `draw_variations`."""
        device = images.labels_b.device
        order_n = torch.randperm(len(images), generator=self._generators["order"])
        variations_nk = draw_variations(len(images), self._augment, self._generators["variation"], shape=images.shape)
        return images.take(order_n.to(device)), variations_nk.to(device)

    def complete(self, right_n: Tensor) -> int | None:
        """Complete an epoch, with the validation images that it predicts correctly: bool, ``[n]``.

        Return the number of images that became right or wrong since the epoch before; None if that is not known.
        """
        before_n, self._right_n = self._right_n, right_n if len(right_n) else None
        self.epoch += 1
        return None if before_n is None else int((right_n != before_n).sum())

    def state(self) -> TrainingState:
        """Copy the state after an epoch."""
        states = {name: generator.get_state() for name, generator in self._generators.items()}
        states["cpu"] = torch.get_rng_state()
        if self.optimizer.weights.is_cuda:
            states["cuda"] = torch.cuda.get_rng_state(self.optimizer.weights.device)
        return TrainingState(
            epoch=self.epoch,
            network=_copied(dict(self.network.state_dict())),
            optimizer=_copied(self.optimizer.state()),
            average=_copied(self.average.state()),
            generators=states,
            right_n=_copied(self._right_n),
        )

    def restore(self, state: TrainingState) -> None:
        """Go on from a state of a training of the same config, on the same kind of device, before the first epoch.

        Raises `RunFolderError` if it is another training's.
        """
        try:
            self._restore(state)
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise RunFolderError(
                "a checkpoint must be of this network and this optimizer, but it is not: delete checkpoint.pt to train "
                "from the start"
            ) from error

    @torch.no_grad()
    def _restore(self, state: TrainingState) -> None:
        self.network.load_state_dict(state.network)
        self.optimizer.load_state(state.optimizer)
        self.average.load_state(state.average)
        for name, generator in self._generators.items():
            generator.set_state(state.generators[name])
        torch.set_rng_state(state.generators["cpu"])
        if self.optimizer.weights.is_cuda:
            torch.cuda.set_rng_state(state.generators["cuda"], self.optimizer.weights.device)
        self._right_n = None if state.right_n is None else state.right_n.to(self.optimizer.weights.device)
        self.epoch = state.epoch


def _copied(value: Any) -> Any:
    """Return a copy of a tensor, or of the tensors within lists and dictionaries, on the CPU."""
    match value:
        case Tensor():
            return value.detach().cpu().clone()
        case list():
            return [_copied(each) for each in value]
        case dict():
            return {key: _copied(each) for key, each in value.items()}
        case _:
            return value
