"""Which guard rails a run is given, and when: with its data, before it is trained, once it is scored.

Each one is a function in runners/verdicts.py and becomes a line of the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backbones.config import Facts
from backbones.lineage import trained_on
from conf.capabilities import capabilities
from conf.schema import Config
from methods import load as methods
from results.released import compared
from runners.baselines import majority_predictions
from runners.data import capped_length, room_for_source
from runners.errors import Refused
from runners.evaluate import Evaluation, Evaluator, Split
from runners.progress import say
from runners.verdicts import (
    Verdict,
    budget,
    constant,
    epochs,
    invalid_answers,
    learned,
    over_budget,
    standard_error,
    told_apart,
    truncation,
    verdict,
)
from tasks.kinds import kind_of
from tasks.metrics import score, sums_of
from tasks.task import TaskData
from tasks.templates import label_words


def of_data(config: Config, report: Mapping[str, Any], aloud: bool) -> list[Verdict]:
    """What the data say of themselves; a control, and a model that has seen the task, are said aloud too."""
    found = [verdict("data", "warning", text) for text in report["verdicts"]]
    found += [
        verdict("shared_with_train", "note", f"{count} of {report['rows'][role]} {role} rows are training rows too")
        for role, count in (report.get("shared_with_train") or {}).items()
    ]
    if report.get("control"):
        found.append(verdict("control", "note", report["control"]))
        say(report["control"], aloud)
    if capabilities(config.method).trains and report["select_split"] == report["report_split"]:
        rows = (report.get("official_split") or {}).get(report["report_split"], report["report_split"])
        text = f"selected and reported on the same rows ({rows}): the best of its evaluations there"
        found.append(verdict("selected_on_report", "note", text))
    seen = trained_on(config.backbone, config.task.name)
    if seen and not config.backbone.random_weights:
        found.append(verdict("trained_before", "note", seen))
        say(f"note: {seen}", aloud)
    return found


def of_lengths(config: Config, splits: Mapping[str, Split], reported: str, aloud: bool) -> list[Verdict]:
    """What the length limit cuts: of the reported split always, of others where it is much; and which of its rows have
    their right option twice."""
    whole, kept = capped_length(config), []
    limit = min(whole, room_for_source(config) or whole)
    for role, split in splits.items():
        found = truncation(role, split.encoded.cut_from.tolist(), len(split.examples), limit)
        if role == reported or found["level"] == "warning":
            kept.append(found)
        if found["level"] == "warning":
            say(found["message"], aloud)
    options = kind_of(config.task).options and config.backbone.traits.writes
    return kept + (told_apart(reported, splits[reported]) if options else [])


def ceilings(
    config: Config, evaluator: Evaluator, splits: Mapping[str, Split], wanted: Sequence[tuple[str, str]]
) -> dict[str, dict[str, float]]:
    """Split -> what a perfect answer scores in it, where that is below 1.

    Args:
        wanted: splits, each with a metric that is read there.

    Raises:
        Refused: the metric that selects or is reported cannot be above 0 on this gold.
    """
    below = {role: evaluator.ceiling(splits[role]) for role in dict(wanted) if role in splits}
    for role, metric in wanted:
        if below.get(role, {}).get(metric, 1) <= 0:
            raise Refused(
                f"{config.task.name}: a perfect answer scores {metric} 0 on the {role} split "
                f"({len(splits[role].examples)} rows): its gold is all of one value, or none of it comes "
                "through the tokenizer and the answer's limit, or less of the metric is better; use more rows "
                "(runner.*_rows), another metric (task.report_metric.default) or protocol.label_words=digits"
            )
    return {role: metrics for role, metrics in below.items() if metrics}


def error_of(config: Config, record: Mapping[str, Any], reported: Evaluation) -> float | None:
    """Standard error of the reported score over its examples; None where it cannot be estimated."""
    task, protocol, metric = config.task, config.protocol, record["primary_metric"]
    rows = reported.predictions
    columns = [r.prediction for r in rows], [r.reference for r in rows]
    words = label_words(task, protocol) or task.labels
    groups = [r.group or r.id for r in rows]
    sums = sums_of(metric, *columns, words, task.kind, protocol.invalid_output, groups, task.mean_of)
    return standard_error(rows, metric, lambda drawn: score(task, protocol, drawn), _value(record), sums)


def of_scores(
    config: Config, record: Mapping[str, Any], reported: Evaluation, data: TaskData, facts: Facts
) -> list[Verdict]:
    """What a reader should know before believing the reported score (the record has its standard error)."""
    task, metric, split = config.task, record["primary_metric"], record["primary_split"]
    majority = None
    if "train" in data.splits and len(data.splits["train"]):
        majority = score(task, config.protocol, majority_predictions(config, data, split))[metric]
    untrained = (record["untrained_metrics"].get(split) or {}).get(metric)
    found = learned(_value(record), record["standard_error"], majority, untrained, metric, len(reported.predictions))
    if not kind_of(task).tags:
        found += constant(reported.predictions)
    found += invalid_answers(reported.invalid)
    if capabilities(config.method).trains:
        found += over_budget(methods.budget_note(config.method, facts))
        found += epochs(config.protocol, config.runner, data.report["used_rows"]["train"])
    found += budget(config.runner, data.report["rows"], data.report["used_rows"])
    if config.released.set:
        same, text = compared("dept", config.released.set, record)
        found.append(verdict("released", "ok" if same else "warning", text))
    return found


def _value(record: Mapping[str, Any]) -> float:
    return float(record["metrics"][record["primary_split"]][record["primary_metric"]])
