"""From a composed configuration to the one that runs: nulls are filled, documentation blocks dropped, values checked.

A null means "not chosen here". It is filled from the protocol's `recipe` (what the paper's runs were made with), then
from `defaults_by_fidelity`, then `defaults_by_family` (a backbone's name refines its family), then, for the runner,
from the protocol and the task, and from its schema's defaults. What anybody chose is not null and so wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from conf.capabilities import capabilities
from conf.check import missing_groups
from conf.check import problems as outside_ranges
from conf.unread import unread
from tasks.config import length_for, steps_for
from tasks.errors import brief
from tasks.splits import trained_rows

CONF = Path(__file__).resolve().parent
ANY_MODEL = ("hub", "hub_llama", "hub_t5", "hub_encoder")  # YAMLs of no model: it has a name of its own
GROUPS = ("method", "task", "backbone", "protocol", "runner", "data", "tracking")
# what of a run's training is the protocol's to say; the schema's defaults stand where it says nothing
RECIPE_KEYS = (
    "clip_norm", "backbone_dropout", "hidden_dropout", "mean_rows", "precision", "schedule.name",
    "schedule.factor_per_epoch", "optimizer.name", "optimizer.betas", "optimizer.eps", "optimizer.eps_first",
    "optimizer.weight_decay", "optimizer.decay_rate",
)  # fmt: skip
TABLES = ("task.columns", "task.templates", "task.prepare", "task.label_words")  # a recipe may add a protocol's own
DOCUMENTATION = (
    "defaults_by_fidelity", "defaults_by_family", "choices", "lengths", "ranges", "space", "about", "recipe",
)  # fmt: skip


class ConfigError(ValueError):
    """One or more values of a configuration are wrong; `problems` has one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        problems = [brief(problem) for problem in problems]
        super().__init__("\n".join(problems))
        self.problems = problems


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fill and check a composed configuration.

    Raises:
        ConfigError: with every problem found.
    """
    absent = missing_groups(config)
    if absent:
        raise ConfigError(absent)
    resolved = _filled(config)
    method = _of_method(str(resolved["method"].get("name"))) or {"ranges": resolved["method"].get("ranges")}
    problems = outside_ranges(resolved, _whole(), method)
    said = {problem.split("=", 1)[0] for problem in problems}
    for group in GROUPS:
        problems += [text for text in _outside_choices(group, resolved[group]) if text.split("=", 1)[0] not in said]
    problems += [text for text in unread(config, resolved) if text.split("=", 1)[0] not in said]
    released = resolved.get("released") or {}
    if released.get("set") and not released.get("path"):
        problems.append(f"released.set={released['set']}: give released.root too, the folder that holds the sets")
    try:
        capabilities(resolved["method"])
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError(problems)
    return _without_documentation(resolved)


def _filled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy whose nulls are filled, documentation blocks still in it."""
    filled = copied(dict(config))
    filled.pop("hydra", None)
    backbone, fidelity = filled["backbone"], filled.get("fidelity", "corrected")
    if backbone.get("family") is None:
        _find_family(backbone)
    if backbone.get("name") in ANY_MODEL:
        backbone["name"] = _own_name(backbone, (filled.get("cache") or {}).get("root"))
    follow_recipe(filled)
    for group in GROUPS:
        _fill(filled[group], fidelity, backbone.get("name"), backbone.get("family"))
    _fill_runner(filled)
    released = filled.get("released") or {}
    if released.get("set") and released.get("root") and not released.get("path"):
        released["path"] = str(Path(released["root"]).expanduser() / released["set"])
    return filled


def _without_documentation(config: dict[str, Any]) -> dict[str, Any]:
    for group in GROUPS:
        for block in DOCUMENTATION:
            config[group].pop(block, None)
    return config


def _find_family(backbone: dict[str, Any]) -> None:
    """`backbone=hub`: the family comes from the checkpoint.

    Raises:
        ConfigError: it cannot be read, or is of no family built here.
    """
    from backbones.config import found_family

    try:
        backbone["family"] = found_family(backbone)
    except ValueError as error:
        raise ConfigError([str(error)]) from None


def _own_name(backbone: Mapping[str, Any], cache: str | None) -> str:
    """What a model of the user's choice is called in records and tables, where two models never share a name.

    Of a folder: its name and the first digits of its content's hash; of the Hub: owner/name, with the revision where it
    is not main.
    """
    from results.content import default_cache, model_sha256

    name, path, hub = str(backbone["name"]), backbone.get("path"), backbone.get("hub")
    if path:
        folder = Path(str(path)).expanduser().resolve()
        try:
            return f"{folder.name}-{model_sha256(folder, Path(cache).expanduser() if cache else default_cache())[:6]}"
        except (ValueError, OSError):
            return name  # no model is there: whoever loads it says so
    if not hub:
        return name
    revision = backbone.get("revision")
    return str(hub) if revision in (None, "main") else f"{hub}@{revision}"


def with_schema(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A group's values over the defaults of its dataclass, so that every key can be seen and overridden."""
    schema = _schemas().get(group)
    merged = _over(schema, values) if schema else dict(values)
    if group == "runner":
        for key in RECIPE_KEYS:  # null where nobody chose, so that the protocol may
            if get(values, key) is None:
                put(merged, key, None)
    return merged


@cache
def _schemas() -> dict[str, type[Any]]:
    from backbones.config import BackboneConfig
    from runners.config import RunnerConfig
    from tasks.config import DataConfig, ProtocolConfig, TaskConfig

    return {
        "backbone": BackboneConfig,
        "runner": RunnerConfig,
        "data": DataConfig,
        "protocol": ProtocolConfig,
        "task": TaskConfig,
    }


def _whole() -> type[Any]:
    from conf.schema import Config

    return Config


@cache
def _of_method(name: str) -> dict[str, Any]:
    """A method's ranges and the names of its learning rates, from its own YAML; {} where it is not in conf/method."""
    if name == "own" or not (CONF / "method" / f"{name}.yaml").exists():  # the groups of an own file are its own
        return {}
    own = _group_file("method", name)
    keys = [key for block in (own.get("defaults_by_family") or {}).values() for key in block]
    rates = {key.removeprefix("lr.") for key in keys if key.startswith("lr.")} | set(own.get("lr") or {})
    return {"ranges": own.get("ranges"), "rates": rates}


def _over(schema: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for field in fields(schema):
        default = field.default if field.default is not MISSING else None
        if field.default_factory is not MISSING:
            default = field.default_factory()
        elif field.default is MISSING:
            continue
        if is_dataclass(default):
            own = merged.get(field.name) or {}
            merged[field.name] = _over(type(default), own) if isinstance(own, Mapping) else own
        else:
            merged.setdefault(field.name, default)
    return merged


def copied(tree: Any) -> Any:
    """A copy of plain mappings, lists and values (several times as quick as `deepcopy`, which plans feel)."""
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return [copied(value) for value in tree] if isinstance(tree, list) else tree


def get(tree: Mapping[str, Any], dotted: str, default: Any = None) -> Any:
    node: Any = tree
    for part in dotted.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def put(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    for part in path:
        if tree.get(part) is None:
            tree[part] = {}
        tree = tree[part]
    tree[last] = value


def follow_recipe(config: dict[str, Any]) -> None:
    """Fill what nobody chose with what the protocol's recipe says for this method, task, backbone and fidelity.

    The recipe is a list of `{when, set}`; `when` has shell patterns (or lists of them), `set` dotted keys. The first
    entry that fits and has a key gives it. A key that the method does not have is left out; a task's tables take more.
    """
    backbone = config["backbone"]
    facts = {
        "fidelity": config.get("fidelity", "corrected"),
        "method": config["method"].get("name"),
        "task": config["task"].get("name"),
        "backbone": backbone.get("name"),
        "family": backbone.get("family"),
    }
    for entry in config["protocol"].get("recipe") or []:
        if not all(_fits(str(facts[name]), wanted) for name, wanted in (entry.get("when") or {}).items()):
            continue
        for key, value in entry["set"].items():
            parent, _, last = key.rpartition(".")
            holder = get(config, parent)
            if (
                isinstance(holder, dict)
                and (last in holder or parent.startswith("runner") or parent in TABLES)
                and holder.get(last) in (None, [])
            ):
                holder[last] = deepcopy(value)


def _fits(value: str, wanted: Any) -> bool:
    return any(fnmatchcase(value, str(pattern)) for pattern in (wanted if isinstance(wanted, list) else [wanted]))


def _fill(group: dict[str, Any], fidelity: str, name: str | None, family: str | None) -> None:
    by_fidelity = (group.get("defaults_by_fidelity") or {}).get(fidelity) or {}
    by_family = group.get("defaults_by_family") or {}
    layers = [by_fidelity, *(by_family.get(key) or {} for key in (name, family, "default"))]
    for layer in layers:
        for key, value in layer.items():
            if get(group, key) is None:
                put(group, key, deepcopy(value))


def _fill_runner(config: dict[str, Any]) -> None:
    """The runner's nulls come from the protocol; the lengths from the task."""
    runner, protocol, task = config["runner"], config["protocol"], config["task"]
    steps = protocol.get("steps")
    if isinstance(steps, Mapping):
        steps = steps_for((task.get("rows") or {}).get("train", 0), dict(steps))
    schedule = runner.setdefault("schedule", {})
    batch = get(runner, "batch_size") or protocol.get("batch_size") or 32
    epochs = protocol.get("epochs")
    epoch = _epoch(task, protocol, batch) if isinstance(epochs, int) and epochs > 0 else None
    wanted = {
        "max_steps": epoch * epochs if epoch else steps,
        "batch_size": batch,
        "eval_every": protocol.get("eval_every") or epoch or 1000,
        "schedule.warmup_steps": protocol.get("warmup_steps", 500),
    }
    schema = _over(_schemas()["runner"], {})
    for key, value in (wanted | {key: get(schema, key) for key in RECIPE_KEYS}).items():
        if get(runner, key) is None:
            put(runner, key, value)
    if protocol.get("max_source_length"):  # shown where a reader looks for it
        task["max_source_length"] = length_for(
            task["name"], task.get("max_source_length"), protocol["max_source_length"]
        )
    if not isinstance(schedule, dict):
        raise ConfigError([f"runner.schedule must be a mapping with a name, not {schedule!r}"])
    method = config["method"]
    if "max_source_length" in method and method["max_source_length"] is None:
        method["max_source_length"] = length_for(
            task["name"], task.get("max_source_length"), protocol.get("max_source_length")
        )


def _epoch(task: Mapping[str, Any], protocol: Mapping[str, Any], batch: Any) -> int | None:
    """Steps of one pass over the published training rows, the last batch of it whatever its size."""
    try:
        rows = trained_rows(SimpleNamespace(**task), SimpleNamespace(**protocol))  # type: ignore[arg-type]
        return None if rows is None else -(-rows // batch)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):  # a value that the checks refuse next
        return None


def _outside_choices(group: str, values: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, allowed in (values.get("choices") or {}).items():
        value = get(values, key)
        if value is not None and value not in allowed:
            problems.append(f"{group}.{key}={value!r} is not one of {', '.join(map(str, allowed))}")
    return problems


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _group_file(group: str, name: str) -> dict[str, Any]:
    """The values of a group's own YAML file, {} for a method or task that lives elsewhere."""
    path = CONF / group / f"{name}.yaml"
    if not path.exists():
        return {"name": name}
    values = deepcopy(_read(path))
    values.pop("defaults", None)
    return values
