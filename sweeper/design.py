"""What is known of an experiment's network without data, weights or torch; and whether it may be trained."""

from dataclasses import dataclass

from sweeper.config.schema import ExperimentConf
from sweeper.data.catalogue import DATASETS
from sweeper.network.budget import check_budget
from sweeper.network.diagnosis import Finding, diagnose
from sweeper.network.plan import Plan, make_plan
from sweeper.network.repair import ImageFacts
from sweeper.network.summary import Summary, summarize


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """A network on paper."""

    plan: Plan
    """The list of its layers."""
    summary: Summary
    """The facts of each layer."""
    findings: tuple[Finding, ...]
    """What is wrong with it."""


def analyze(conf: ExperimentConf) -> Design:
    """Plan, summarize and diagnose the configured network, over budget or not, in well under a millisecond.

    Raises `ConfigError` for an unknown data set, a map smaller than its kernel, a head that does not fit.
    """
    facts = DATASETS.facts(conf.data.name)
    plan = make_plan(conf.model, input_shape=facts.image_shape, classes=facts.classes)
    summary = summarize(plan)
    return Design(plan=plan, summary=summary, findings=diagnose(plan, summary, majority_share=facts.majority_share))


def analyze_within_budget(conf: ExperimentConf) -> Design:
    """`draw`, and raise `BudgetError` when the network is larger than `budget` allows."""
    design = analyze(conf)
    check_budget(conf.model, design.plan, design.summary, conf.budget)
    return design


def image_facts(conf: ExperimentConf) -> ImageFacts:
    """Return what `sweeper.network.repair` must know of the configured images. Raises `ConfigError` for unknown ones."""
    facts = DATASETS.facts(conf.data.name)
    return ImageFacts(shape=facts.image_shape, classes=facts.classes, majority_share=facts.majority_share)
