"""What a config says about its network without data, weights or torch: its layers, their costs, its findings."""

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
    """A network as planned, before it is built."""

    plan: Plan
    """Its layers."""
    summary: Summary
    """Output shape, parameters, MACs and receptive field of each layer, and the totals."""
    findings: tuple[Finding, ...]
    """Its weaknesses, as diagnosed from the plan."""


def analyze(conf: ExperimentConf) -> Design:
    """Plan, summarize and diagnose the configured network, over budget or not, in well under a millisecond.

    Raises `ConfigError` for an unknown data set, a map smaller than its kernel, a head that does not fit.
    """
    facts = DATASETS.facts(conf.data.name)
    plan = make_plan(conf.model, input_shape=facts.image_shape, classes=facts.classes)
    summary = summarize(plan)
    return Design(plan=plan, summary=summary, findings=diagnose(plan, summary, majority_share=facts.majority_share))


def analyze_within_budget(conf: ExperimentConf) -> Design:
    """Call `analyze`, and raise `BudgetError` if the network exceeds its budget."""
    design = analyze(conf)
    check_budget(conf.model, design.plan, design.summary, conf.budget)
    return design


def image_facts(conf: ExperimentConf) -> ImageFacts:
    """Return what `sweeper.network.repair` must know of the configured images. Raises `ConfigError` for unknown ones."""
    facts = DATASETS.facts(conf.data.name)
    return ImageFacts(shape=facts.image_shape, classes=facts.classes, majority_share=facts.majority_share)
