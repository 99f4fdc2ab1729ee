"""Analyzes the network of a config without data, weights or torch: its layers, their costs and its weaknesses."""

from dataclasses import dataclass

from sweeper.config.schema import ExperimentConf
from sweeper.data.catalogue import DATASETS, training_images
from sweeper.errors import ConfigError
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
    """Its weaknesses, diagnosed from the plan."""


def analyze(conf: ExperimentConf) -> Design:
    """Plan, summarize and diagnose the configured network in well under a millisecond; does not check the budget.

    Raises `ConfigError` for an unknown dataset or a layer that does not fit its input.
    """
    facts = DATASETS.facts(conf.data.name)
    plan = make_plan(conf.model, input_shape=facts.image_shape, classes=facts.classes)
    summary = summarize(plan)
    findings = diagnose(plan, summary, majority_share=facts.majority_share, content=facts.content)
    return Design(plan=plan, summary=summary, findings=findings)


def analyze_within_budget(conf: ExperimentConf) -> Design:
    """Return `analyze(conf)`. Raises `BudgetError` if the network exceeds its budget, else as `analyze` does.

    Raises `ConfigError` also if there are too few training images, see `check_images`, and for ``data.validation=none``:
    a run or trial without validation has no value.
    """
    if conf.data.validation == "none":
        raise ConfigError(
            "data.validation must be split or test, but got none: a run without validation has no value; to train on all "
            "training images and measure on the test set, give the run's folder to confirm"
        )
    check_images(conf)
    design = analyze(conf)
    check_budget(conf.model, design.plan, design.summary, conf.budget)
    return design


def check_images(conf: ExperimentConf) -> None:
    """Raise `ConfigError` for more validation images, or a larger batch, than the dataset has images to train on."""
    conf.training.check_batch_size(training_images(conf.data))


def image_facts(conf: ExperimentConf) -> ImageFacts:
    """Return the dataset facts that `sweeper.network.repair` needs. Raises `ConfigError` for an unknown dataset."""
    facts = DATASETS.facts(conf.data.name)
    return ImageFacts(shape=facts.image_shape, classes=facts.classes, majority_share=facts.majority_share)
