"""Finds weaknesses of a network before training: signal erased by dropout, bottlenecks, a small receptive field."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sweeper.network.layers import Conv, GapHead
from sweeper.network.plan import Plan
from sweeper.network.summary import LayerSummary, Summary

ERASED_NOTICEABLE: Final = 0.01
"""Least share of training passes without any signal that is reported: it costs about that much training accuracy."""
ENOUGH_VALUES: Final = 0.75
"""Values per class below which a layer is a bottleneck."""
SQUEEZE_FACTOR: Final = 4
"""A layer at least this many times narrower than both neighbours is a bottleneck."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One weakness of the network."""

    rule: str
    """The rule: ``erased_signal``, ``bottleneck`` or ``receptive_field``."""
    layers: tuple[str, ...]
    """Names of the layers concerned."""
    evidence: dict[str, float]
    """The numbers that the rule compared, by name."""
    message: str
    """One to three sentences: the weakness, its effect, the fix if one is known to help."""


def diagnose(plan: Plan, summary: Summary, *, majority_share: float, content: int | None = None) -> tuple[Finding, ...]:
    """Apply every rule and return the findings; empty if there are none.

    `majority_share` is the accuracy of always guessing the most frequent class, a fraction. `content` is the longer side
    of what is in an image, in pixels (`DatasetFacts.content`); None stands for the whole image.
    """
    convs = [
        (layer, layer_summary)
        for layer, layer_summary in zip(plan.layers, summary.layers, strict=True)
        if isinstance(layer, Conv)
    ]
    return (
        *_erased_signal(convs, majority_share),
        *_bottlenecks(convs, plan),
        *_receptive_field(plan, summary, content or max(plan.input_shape[1:])),
    )


def _erased_signal(convs: Sequence[tuple[Conv, LayerSummary]], majority_share: float) -> Iterator[Finding]:
    """Find dropout p that erases a layer's whole output: all k independently dropped units, with probability p^k.

    The class of an erased image can only be guessed, so training accuracy, measured with dropout on, cannot exceed
    survival + (1 - survival) · majority_share.
    """
    erased = {
        layer.name: probability
        for layer, layer_summary in convs
        if (probability := layer.erasure(layer_summary.input_shape)) > 0
    }
    survival = math.prod(1 - probability for probability in erased.values())
    if 1 - survival < ERASED_NOTICEABLE:
        return
    ceiling = survival + (1 - survival) * majority_share
    # Name the layers that reach the threshold alone, or all of them if only their product does.
    named = tuple(name for name, probability in erased.items() if probability >= ERASED_NOTICEABLE) or tuple(erased)
    yield Finding(
        rule="erased_signal",
        layers=named,
        evidence={"survival": survival, "training_accuracy_ceiling": ceiling},
        message=(
            f"Dropout erases the whole image in {100 * (1 - survival):.1f} % of training passes: the signal survives "
            f"{100 * survival:.1f} %, so training accuracy, measured with dropout on, cannot exceed about {100 * ceiling:.1f} %. "
            "That is not under-fitting. Widen these layers or set their dropout to 0."
        ),
    )


def _bottlenecks(convs: Sequence[tuple[Conv, LayerSummary]], plan: Plan) -> Iterator[Finding]:
    """Find layers that pass on too few values for the classes, or far fewer channels than their neighbours.

    `Values`: with C - 1 values, all C classes can be equally far apart (a simplex: Papyan, Han and Donoho, *Prevalence of
    neural collapse*, 2020); with fewer, some are closer, which costs only where it is a lot. Measured on MNIST with
    model=quick, whose last layer leaves so many values to the head, 2 epochs of 15,000 images, mean of seeds 1 to 3:
    2 values 88.8 %, 3 96.0, 4 97.1, 6 97.8, 8 98.1; of seeds 1 and 2: 10 values 98.4 %, 16 98.1. From 8 on, no loss is
    larger than what seeds differ by, so the rule holds below `ENOUGH_VALUES`.
    A head that averages each map sees one value per channel.
    """
    for layer, layer_summary in convs:
        is_averaged = layer is convs[-1][0] and isinstance(plan.layers[-1], GapHead)
        values = layer.out_channels if is_averaged else math.prod(layer_summary.output_shape)
        if values < ENOUGH_VALUES * plan.classes:
            yield Finding(
                rule="bottleneck",
                layers=(layer.name,),
                evidence={"values": values, "classes": plan.classes},
                message=(
                    f"{layer.name} leaves {values} value{'' if values == 1 else 's'} to distinguish {plan.classes} classes. "
                    f"Widen model.groups.{layer.group}.channels."
                ),
            )
    for (before, _), (after, _) in pairwise(convs):
        width = before.out_channels
        neighbours = (before.in_channels, after.out_channels)
        # The first convolution's input is the image: its channel count is no width of the network.
        if before is not convs[0][0] and width * SQUEEZE_FACTOR <= min(neighbours):
            yield Finding(
                rule="bottleneck",
                layers=(before.name,),
                evidence={"channels": width, "channels_before": neighbours[0], "channels_after": neighbours[1]},
                message=(
                    f"{before.name} narrows {neighbours[0]} channels to {width} before {neighbours[1]}: "
                    f"all information passes through {width}. Widen model.groups.{before.group}.channels."
                ),
            )


def _receptive_field(plan: Plan, summary: Summary, content: int) -> Iterator[Finding]:
    """Find a last feature that cannot see all that is in an image. A note, which advises nothing.

    Measured on MNIST, where a digit is 20 pixels wide, on validation images, mean of seeds 6 to 8: the default network has
    99.10 %, with more convolutions up to a field of the whole image 98.89 %.
    """
    last = summary.layers[-2]  # the layer before the head
    if last.receptive_field < content:
        side = max(plan.input_shape[1:])
        yield Finding(
            rule="receptive_field",
            layers=(last.name,),
            evidence={"receptive_field": last.receptive_field, "content": content, "image": side},
            message=(
                f"{last.name} sees {last.receptive_field} pixels, and what is in these images is up to {content} wide: no feature "
                "covers it whole, only the head combines features. That alone is no reason to change the network."
            ),
        )
