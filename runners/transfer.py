"""A finished run scored on another task of its answer form: Lester et al. 2021, section 5 (domain transfer).

Nothing is trained. The record is one of its own, named by the run's tensors and the target's data; its task is written
`<target> (from <source>)`, so that no table of the target ever takes it for a run that was trained there.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from conf.compose import compose, typed_record
from conf.paths import cache_root
from conf.schema import Config
from results.files import write_json
from results.ledger import Ledger
from runners.config import RunnerConfig
from runners.data import capped_length, encode_splits, load_data
from runners.errors import Refused
from runners.evaluate import Evaluator
from runners.finished import Finished
from runners.fresh import moved
from runners.measures import versions
from runners.outcome import Outcome, outcome_of
from runners.saved import prediction_rows
from runners.verdicts import ceiling, invalid_answers, truncation, verdict
from runners.workers import Workers
from tasks.config import TaskConfig, metric_of
from tasks.kinds import kind_of
from tasks.task import data_revision
from tasks.templates import label_words, styled

ANEW = ("runner.test_rows", "runner.validation_rows", "runner.max_source_length", "runner.eval_batch_size")


def score_on(root: Path, finished: Finished, task: str, changes: list[str], cache: str | None = None) -> Outcome:
    """Score a finished run of the ledger at `root` on a task, or find that it was.

    Args:
        finished: the run as a model (runners/finished.py); several tasks need to load it once.
        changes: overrides of the target's data and evaluation (data=, data.root=, runner.test_rows= and the like).

    Raises:
        ValueError: the task is not of the run's answer form, or a change is none that can be made.
    """
    resolved = target_of(finished, task, changes)
    config = typed_record(resolved)
    if cache:
        config.cache.root = cache
    _, revision = data_revision(config.task, config.data, cache_root(config))
    run = Ledger(root).run(identity(finished, resolved, revision))
    known = run.record()
    if known is not None and known["status"] == "done" and not moved(config, known):
        return outcome_of(known, skipped=True)
    record = _score(finished, config, resolved)
    with run.hold():
        run.write_config(resolved)
        run.write_predictions(record["primary_split"], record.pop("predictions"))
        write_json(run / "manifest.json", {"transfer": record["transfer"], "run_id": run.id})
        run.write_record(record | {"run_id": run.id})
    return outcome_of(record | {"run_id": run.id})


def target_of(finished: Finished, task: str, changes: list[str]) -> dict[str, Any]:
    """The resolved configuration of the scoring: the run's own, with the target's task and what `changes` say."""
    own, protocol = finished.record["config"], finished.config.protocol
    known = ("data", "runner", "cache")
    wrong = [text for text in changes if text.split("=")[0].split(".")[0] not in known]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: of a finished run only {', '.join(known)} can be given anew")
    trained = [text for text in changes if text.split("=")[0].split(".")[0] == "runner" and _key(text) not in ANEW]
    if trained:  # the record would hold a choice that nothing was made with
        raise ValueError(f"{', '.join(trained)}: the run was trained so; only {', '.join(ANEW)} can be given anew")
    kept = [f"task={task}", f"protocol={protocol.name}", f"backbone={own['backbone']['name']}", "method=none"]
    asked = compose([*kept, *changes])
    resolved = deepcopy(own)
    resolved["task"] = asked["task"]
    for text in changes:
        key = text.split("=")[0]
        if "." not in key:
            resolved[key] = asked[key]
        else:
            group, _, name = key.partition(".")
            resolved[group][name] = asked[group][name]
    resolved["task"] = fitted(finished.config, typed_record(resolved).task)
    length = capped_length(typed_record(resolved))
    rows = finished.config.method.get("max_source_length")
    if rows:  # a method with a row per position reads no more than it was trained for
        resolved["runner"]["max_source_length"] = min(length, int(rows))
    return resolved


def _key(text: str) -> str:
    return text.split("=")[0].lstrip("+")


def fitted(config: Config, task: TaskConfig) -> dict[str, Any]:
    """The target's task, answering with the words that the run learned.

    Raises:
        ValueError: its answers are not of the run's form.
    """
    source, family = config.task, config.backbone.family
    where = f"task={task.name} ({task.kind}) and the run's {source.name} ({source.kind})"
    kind = kind_of(task)
    if kind.answer != kind_of(source).answer:
        raise ValueError(f"{where}: answers are of two forms; a run can be scored on tasks of kind {source.kind}")
    if kind.tag_names(task) != kind.tag_names(source):
        raise ValueError(f"{where}: their tags differ ({', '.join(source.labels)} and {', '.join(task.labels)})")
    if kind.closed and len(task.labels) != len(source.labels):
        raise ValueError(f"{where}: {len(source.labels)} and {len(task.labels)} labels")
    if family not in task.families:
        raise ValueError(f"task={task.name} is not for {family} backbones")
    made = asdict(task)
    if not kind.closed:
        return made
    places, style = classes_of(source, task), config.protocol.label_words
    digits = style == "digits" and style not in source.label_words
    own = [str(i) for i in range(len(places))] if digits else styled(source.label_words, style, "label words", source)
    if isinstance(own, list) and not (digits and places == sorted(places)):
        made["label_words"] = {**task.label_words, style: [own[place] for place in places]}
    return made


def classes_of(source: TaskConfig, task: TaskConfig) -> list[int]:
    """Of each label of `task`, the class of `source` that it is: the one of its name; where none of the names is shared
    (duplicate, equivalent), the one in its place.

    Raises:
        ValueError: some names are shared and others are not, and a shared one stands in another place.
    """
    theirs, ours = source.labels, task.labels
    if set(theirs) == set(ours):
        return [theirs.index(label) for label in ours]
    moved = [label for label in ours if label in theirs and theirs.index(label) != ours.index(label)]
    if moved:
        raise ValueError(
            f"task={task.name} and the run's {source.name}: the labels {', '.join(ours)} and {', '.join(theirs)} share "
            f"{', '.join(moved)}, at other places, so that it is not known which of the others mean the same"
        )
    return list(range(len(ours)))


def answer_in_order_of(finished: Finished, task: TaskConfig) -> None:
    """Bring the outputs of a task head to the order of the target's labels."""
    head: Any = finished.tuned.backbone.head
    if head is None or not kind_of(task).closed:
        return
    places = classes_of(finished.config.task, task)
    with torch.no_grad():
        for parameter in (head.output.weight, head.output.bias):
            parameter.copy_(parameter[places])


def identity(finished: Finished, resolved: dict[str, Any], revision: str) -> str:
    """The id of a scoring: the run's tensors, the target's task, protocol and rows, the data's declared revision."""
    tensors = hashlib.sha256((finished.run / "method.safetensors").read_bytes()).hexdigest()
    rows = {key: value for key, value in resolved["runner"].items() if key.endswith(("_rows", "max_source_length"))}
    payload = [finished.run.id, tensors, resolved["task"], resolved["protocol"], rows, revision]
    return hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _score(finished: Finished, config: Config, resolved: dict[str, Any]) -> dict[str, Any]:
    """The record of the scoring, with its predictions."""
    data = load_data(config)
    name = data.report["report_split"]
    if not len(data.splits.get(name, ())):
        raise Refused(f"{config.task.name}: no rows of the split {name!r} to score on")
    data.splits = {name: data.splits[name]}
    split = encode_splits(config, data, finished.tuned.backbone.tokenizer)[name]
    device = str(finished.tuned.backbone.device)
    workers = Workers(RunnerConfig(device=device))
    answer_in_order_of(finished, config.task)
    evaluator = Evaluator(finished.tuned, config.task, config.protocol, config.runner, workers)
    found, below = evaluator(split), evaluator.ceiling(split)
    cut = truncation(name, split.encoded.cut_from.tolist(), len(split.examples), capped_length(config))
    metric = metric_of(config.task, config.protocol, "report")
    transfer = {
        "from": finished.config.task.name,
        "to": config.task.name,
        "run": finished.run.id,
        "identity": finished.record.get("identity") or {},  # of what it was trained on: seeds of two are no seeds
    }
    words = label_words(config.task, config.protocol)
    said = f"scored with the tensors of run {finished.run.id}, trained on {transfer['from']}"
    said += f"; answers with {', '.join(words)}" if words else ""
    kept = (
        "method",
        "backbone",
        "backbone_content",
        "protocol",
        "seed",
        "fidelity",
        "trainable_parameters",
        "head_parameters",
    )
    return {
        **{key: finished.record[key] for key in kept if key in finished.record},
        "backbone_parameters": finished.record.get("backbone_parameters"),
        "status": "done",
        "reason": None,
        "task": f"{transfer['to']} (from {transfer['from']})",
        "transfer": transfer,
        "config": resolved,
        "data": data.report,
        "primary_metric": metric,
        "primary_split": name,
        "metrics": {name: found.metrics},
        "ceiling": {name: below} if below else {},
        "untrained_metrics": {},
        "steps": 0,
        "eval_examples_per_second": found.examples_per_second,
        "train_examples_per_second": None,
        "verdicts": [verdict("transferred", "note", said), cut, *invalid_answers(found.invalid)]
        + ([ceiling(name, below)] if below else []),
        "versions": versions(),
        "predictions": prediction_rows(found),
    }
