"""What tests of networks share: any network that a config may describe, as a Hypothesis strategy, and its summary."""

from typing import get_args

from hypothesis import reject
from hypothesis import strategies as st

from sweeper.config.model import Activation, ConvKind, GroupConf, HeadConf, ModelConf, PoolKind
from sweeper.errors import ConfigError
from sweeper.network.plan import Plan, make_plan
from sweeper.network.summary import Summary, summarize

IMAGE = (1, 28, 28)
CLASSES = 10

groups = st.builds(
    GroupConf,
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    kernel_size=st.none() | st.integers(1, 5),
    padding=st.none() | st.integers(0, 3),
    pool=st.none() | st.integers(1, 3),
    dropout=st.none() | st.sampled_from([0.0, 0.1, 0.5]),
    dropout_kind=st.none() | st.sampled_from(["channel", "element"]),
    bias=st.none() | st.booleans(),
    norm=st.none() | st.sampled_from(["batch", "none"]),
    activation=st.none() | st.sampled_from(get_args(Activation)),
    order=st.none() | st.sampled_from(["conv_norm_act", "conv_act_norm"]),
    conv=st.none() | st.sampled_from(get_args(ConvKind)),
    stride=st.none() | st.integers(1, 2),
    residual=st.none() | st.booleans(),
    squeeze_excite=st.none() | st.integers(0, 4),
    pool_kind=st.none() | st.sampled_from(get_args(PoolKind)),
)
models = st.builds(
    ModelConf,
    kernel_size=st.integers(1, 5),
    padding=st.integers(0, 2),
    pool=st.integers(1, 2),
    dropout=st.sampled_from([0.0, 0.1]),
    dropout_kind=st.sampled_from(["channel", "element"]),
    bias=st.booleans(),
    norm=st.sampled_from(["batch", "none"]),
    activation=st.sampled_from(["relu", "gelu"]),
    order=st.sampled_from(["conv_norm_act", "conv_act_norm"]),
    conv=st.sampled_from(get_args(ConvKind)),
    residual=st.booleans(),
    squeeze_excite=st.integers(0, 2),
    pool_kind=st.sampled_from(get_args(PoolKind)),
    groups=st.dictionaries(st.sampled_from(["a", "b", "c"]), groups, min_size=1, max_size=3),
    head=st.builds(HeadConf, name=st.just("gap"), bias=st.booleans()),
)
shapes = st.tuples(st.integers(1, 3), st.integers(8, 30), st.integers(8, 30))


def summarized(model: ModelConf, shape: tuple[int, int, int]) -> tuple[Plan, Summary]:
    """The plan and its summary; an example that no image passes through is rejected."""
    try:
        plan = make_plan(model, input_shape=shape, classes=CLASSES)
        return plan, summarize(plan)
    except ConfigError:
        return reject()
