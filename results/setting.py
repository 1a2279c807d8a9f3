"""What a score was measured under: all that names a run but what its method is tuned by.

Trials of a method differ in what one tunes: its own options and how it is trained. Whatever else differs (the rows, the
metric, the precision, a version, the code, the data) is another question, and the better answer to it is no better
method. What is tuned is listed here and everything else parts runs, so that an option that comes later parts them too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.records import Run

# a key stands for everything under it
TUNED = ("method", "runner", "protocol.steps", "protocol.epochs", "protocol.epoch_rows", "protocol.recipe")
# of these the ones that say what was measured, by which code, and from how many rows a method may learn
MEASURED = (
    "method.version", "runner.version", "runner.train_rows", "runner.validation_rows", "runner.test_rows",
    "runner.precision",
)  # fmt: skip
APART = ("seed", "control", "packed")  # a run's draw, its method's name, and how it shared its passes
LEARNING = (
    "runner.train_rows",
    "protocol.k_shot",
    "protocol.few_shot",
    "protocol.few_shot_order",
)  # if anything learns
CODE = "code of the method"
MODEL = "content of backbone"
SHOWN = 24  # characters of a value in a message
Conflicts = dict[str, list[str]]


def is_setting(key: str) -> bool:
    """Whether a dotted key of a configuration is no choice that a method is tuned by."""
    if key in APART or _under(key, ("sweep",)):
        return False
    return key in MEASURED or not _under(key, TUNED)


def _under(key: str, heads: Iterable[str]) -> bool:
    return any(key == head or key.startswith(f"{head}.") for head in heads)


def setting_of(run: Run) -> dict[str, Any]:
    """Dotted key -> value of what a run was measured under; data by their content where a record knows it."""
    found = {key: value for key, value in run.counted.items() if is_setting(key)}
    contents = (run.record.get("identity") or {}).get("contents") or {}
    found["reported split"] = run.primary_split
    if run.data_content:
        found["data"] = run.data_content[:12]
    content = contents.get("backbone") or run.backbone_content
    found[f"{MODEL} {run.get('backbone')}"] = str(content)[:12] if content else "as shipped"
    if "source" in contents:
        found[CODE] = short(contents["source"])
    if run.record.get("adopted"):
        found["source of the predictions"] = str((run.record["adopted"] or {}).get("source"))
    return found


def short(value: Any) -> str:
    """A few characters that tell two values apart."""
    import hashlib

    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def conflicts(runs: Iterable[Run]) -> Conflicts:
    """What runs differ in although it is not tuned: key -> the values, as they are shown.

    A method's version and code are held against those of the same method alone.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    settings = [(str(run.get("method")), run.setting) for run in runs]
    for key in dict.fromkeys(key for _, setting in settings for key in setting):
        for method, setting in settings:
            if key in setting or not _known_of_some(key):
                own = key in (CODE, "method.version")
                seen.setdefault((key, method if own else ""), set()).add(shown(setting.get(key)))
    return {key: sorted(values) for (key, _), values in seen.items() if len(values) > 1}


def _known_of_some(key: str) -> bool:
    """Keys that a run may lack without a contradiction: a record that does not know its data, another backbone's."""
    return key == "data" or key.startswith(MODEL)


def between(runs: Sequence[Run]) -> Conflicts:
    """What the runs of different rows differ in: as `conflicts`, apart from the code of different methods; what trains
    nothing has no rows to learn from."""
    found: dict[str, set[str]] = {}
    for key in dict.fromkeys(key for run in runs for key in run.setting):
        if key in (CODE, "method.version", "source of the predictions"):
            continue
        asked = [run for run in runs if run.trained or key not in LEARNING]
        found[key] = {shown(run.setting.get(key)) for run in asked if key in run.setting or not _known_of_some(key)}
    return {key: sorted(values) for key, values in found.items() if len(values) > 1}


def shown(value: Any) -> str:
    """A value as a sentence has it; a long one by its beginning and a few characters of its hash."""
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[:12]}… ({short(text)})"


def condensed(found: Conflicts) -> Conflicts:
    """Conflicts without those that follow from another one: all of a task's values from the task, and so on."""
    heads = [group for group in ("task", "backbone", "protocol") if group in found or f"{group}.name" in found]
    kept = {key: values for key, values in found.items() if key.split(".")[0] not in heads or key in heads}
    for group in heads:
        kept.setdefault(group, found.get(f"{group}.name") or found[group])
    if "task" in kept:
        kept.pop("data", None)
    return kept


def told(found: Conflicts) -> str:
    """Conflicts in a few words: runner.test_rows (100, 300), task.version (1, 2)."""
    return ", ".join(f"{key} ({', '.join(values)})" for key, values in condensed(found).items())
