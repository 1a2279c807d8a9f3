"""Every value of a resolved configuration against the range that stands beside it, all problems at once.

A field of a schema says its range in its metadata (`wanted="integer >= 1"`), an option of a method in the block
`ranges` of its YAML. The notation is one for both, and is what a message shows:

    integer >= 1     number > 0 <= 1     2 numbers >= 0 < 1     one of fp32, bf16     text     true or false

and alternatives of these, divided by ` | `. Numbers are finite. A list or mapping is checked value by value. null
means "not chosen here" and is let through where the field may be null.
"""

from __future__ import annotations

import math
import operator
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

GROUPS = ("method", "task", "backbone", "protocol", "runner", "data", "tracking")
WAYS_ON = {
    "method": "method=none (zero-shot) trains nothing",
    "tracking": "tracking=none follows nothing",
    "runner": "runner=paper takes the protocol's budget",
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
TYPES = {"text": str, "true or false": bool}
NOTATION = re.compile(r"(?:(\d+) )?(integer|number)s?((?: (?:>=|<=|>|<) [-\d.e]+)*)")
LARGEST = 1e15  # whole numbers beyond it are mistakes, and results/sound.py takes no record that holds one
RATE = "number > 0"
COMMON = {
    "path": "text", "init_from": "text", "init_across": "true or false", "init": "text", "init_text": "text",
    "init_text_eos": "true or false",
}  # fmt: skip


def missing_groups(config: Mapping[str, Any]) -> list[str]:
    """Groups that a run needs and that nothing was chosen of (`method=null`)."""
    return [needed(group, config.get(group)) for group in GROUPS if not isinstance(config.get(group), Mapping)]


def needed(group: str, value: Any = None) -> str:
    """That a run needs something of a group."""
    shown = "null" if value is None else repr(value)
    return f"{group}={shown}: a run needs a {group}; " + WAYS_ON.get(group, f"choose one of the options of {group}=")


def problems(resolved: Mapping[str, Any], schema: type[Any], method: Mapping[str, Any]) -> list[str]:
    """What is outside its range in a resolved configuration.

    Args:
        resolved: the configuration, nulls filled.
        schema: the dataclass of the whole.
        method: `ranges` and `rates` of the method: option -> range, and the names of its learning rates.
    """
    found = list(_of_dataclass(schema, resolved, ""))
    options = resolved.get("method") or {}
    for key, wanted in (COMMON | dict(method.get("ranges") or {})).items():
        found += misfits(f"method.{key}", options.get(key), wanted)
    rates = options.get("lr")
    if rates is not None and not isinstance(rates, Mapping):
        found.append(f"method.lr={rates!r}: learning rates are named, {_rates(method.get('rates') or ())}")
    for name, rate in (rates or {}).items() if isinstance(rates, Mapping) else ():
        if method.get("rates") and name not in method["rates"]:
            found.append(f"method.lr.{name}: this method has no such learning rate, {_rates(method['rates'])}")
        elif isinstance(rate, list | Mapping):
            found.append(f"method.lr.{name}={rate!r}: allowed: {RATE} (one rate)")
        else:
            found += misfits(f"method.lr.{name}", rate, RATE)
    return found + _of_metrics(resolved.get("task") or {}, (resolved.get("protocol") or {}).get("select_metric"))


def _of_metrics(task: Mapping[str, Any], chosen: Any) -> list[str]:
    """Metrics that select or are reported without being recorded."""
    recorded = [*(task.get("metrics") or []), *(["mean"] if task.get("mean_of") else [])]
    wrong = chosen is not None and chosen not in recorded
    found = [f"protocol.select_metric={chosen!r}: allowed: one of {', '.join(map(str, recorded))}"] if wrong else []
    return found + [
        f"task.{block}.{name}={metric!r}: allowed: one of task.metrics, {', '.join(map(str, recorded))}"
        for block in ("select_metric", "report_metric")
        for name, metric in (task.get(block) or {}).items()
        if metric not in recorded
    ]


def _rates(names: Iterable[str]) -> str:
    return "there are " + ", ".join(f"method.lr.{name}" for name in sorted(names))


def _of_dataclass(schema: type[Any], values: Any, prefix: str) -> Iterator[str]:
    if not isinstance(values, Mapping):
        return
    for name, (wanted, inner, may_be_null) in _fields(schema).items():  # type: ignore[arg-type]
        if name not in values:
            continue
        value, key = values[name], f"{prefix}{name}"
        if inner is not None:
            yield from _of_dataclass(inner, value, f"{key}.")
        elif wanted and (value is not None or not may_be_null):
            yield from misfits(key, value, wanted, may_be_null)


@cache
def _fields(schema: type[Any]) -> dict[str, tuple[str | None, type[Any] | None, bool]]:
    """Field -> (its range, its own dataclass, whether it may be null)."""
    hints = get_type_hints(schema)
    return {
        f.name: (
            f.metadata.get("wanted"),
            hints[f.name] if is_dataclass(hints[f.name]) else None,  # type: ignore[misc]
            "None" in str(hints[f.name]),
        )
        for f in fields(schema)
    }


def is_free_text(schema: type[Any], key: str) -> bool:
    """Whether a dotted key holds text that no range holds: a name, a path, a revision."""
    name, _, rest = key.partition(".")
    wanted, inner, _ = _fields(schema).get(name, (None, None, False))  # type: ignore[arg-type]
    if rest:
        return inner is not None and is_free_text(inner, rest)
    return wanted is None and str(get_type_hints(schema).get(name)) in ("<class 'str'>", "str | None")


def misfits(key: str, value: Any, wanted: str, may_be_null: bool = True) -> list[str]:
    """One sentence per value under `key` that the range does not hold."""
    allowed = f"allowed: {wanted}" + (" (or null)" if may_be_null and not isinstance(value, list | dict) else "")
    if value is None and may_be_null:
        return []
    if isinstance(value, Mapping):
        return [text for name, inner in value.items() for text in misfits(f"{key}.{name}", inner, wanted)]
    count, fits = _range(wanted)
    if isinstance(value, list | tuple):
        if count and len(value) != count:
            return [f"{key}={value!r}: {len(value)} values; {allowed}"]
        return [] if all(fits(inner) for inner in value) else [f"{key}={value!r}: {allowed}"]
    return [] if fits(value) and not count else [f"{key}={value!r}: {allowed}"]


@cache
def _range(wanted: str) -> tuple[int, Callable[[Any], bool]]:
    """(number of values in a list, 0 = any; whether one value fits) of a range's notation."""
    if " | " in wanted:
        either = [_range(one)[1] for one in wanted.split(" | ")]
        return 0, lambda value: any(fits(value) for fits in either)
    if wanted in TYPES:
        return 0, lambda value: isinstance(value, TYPES[wanted])
    if wanted.startswith("one of "):
        words = [word.strip() for word in wanted.removeprefix("one of ").split(",")]
        return 0, lambda value: isinstance(value, str) and value in words
    match = NOTATION.fullmatch(wanted)
    if match is None:
        raise ValueError(f"{wanted!r} is no range: write `integer >= 1`, `number > 0 <= 1` or `one of a, b`")
    parts = match[3].split()
    bounds = [(OPERATORS[sign], float(edge)) for sign, edge in zip(parts[::2], parts[1::2], strict=True)]
    kinds = (int,) if match[2] == "integer" else (int, float)

    def fits(value: Any) -> bool:
        plain = isinstance(value, kinds) and not isinstance(value, bool)
        return (
            plain
            and (abs(value) < LARGEST if isinstance(value, int) else math.isfinite(value))
            and all(holds(value, e) for holds, e in bounds)
        )

    return int(match[1] or 0), fits


def interpolated(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration with its references (`${seed}`) filled in, and what is wrong with them.

    A value may refer to other keys only: what the environment holds would be written into the record, and a value
    that is another on the next machine would change what the id stands for.
    """
    found = list(_resolvers(config, ""))
    if found:
        return dict(config), found
    tree = OmegaConf.create(dict(config))
    found = list(_dangling(tree, ""))
    if found:
        return dict(config), found
    return OmegaConf.to_container(tree, resolve=True), []  # type: ignore[return-value]


def _resolvers(value: Any, key: str) -> Iterator[str]:
    """Sentences on strings that call a resolver: `${oc.env:TOKEN}`, also inside other references."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _resolvers(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _resolvers(inner, f"{key}[{number}]")
    elif isinstance(value, str) and _calls(value):
        yield (
            f"{key}={value}: a value may refer to other keys (${{seed}}), not to the environment or another resolver: "
            "what a run is made of is written into its record; give the value itself"
        )


def _calls(text: str) -> bool:
    """Whether a colon stands inside `${...}` at any depth."""
    depth = 0
    for at, character in enumerate(text):
        if character == "{" and at and text[at - 1] == "$":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == ":" and depth:
            return True
    return False


def _dangling(node: Any, key: str) -> Iterator[str]:
    """Sentences on references that lead nowhere."""
    keys: Iterable[Any] = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for name in keys:
        full = f"{key}[{name}]" if isinstance(node, ListConfig) else f"{key}.{name}" if key else str(name)
        if OmegaConf.is_interpolation(node, name):
            try:
                if node[name] is None:
                    text = OmegaConf.to_container(node)[name]  # type: ignore[call-overload, index]
                    yield f"{full}={text}: it refers to a null, which is filled in later; give the value itself"
            except (OmegaConfBaseException, RecursionError) as error:
                text = OmegaConf.to_container(node)[name]  # type: ignore[call-overload, index]
                why = (str(error).splitlines() or ["it refers to itself"])[0]
                yield f"{full}={text}: {why}; a value may refer to other keys by their full names (${{seed}})"
        elif isinstance(inner := node._get_node(name), DictConfig | ListConfig) and not inner._is_none():
            yield from _dangling(inner, full)


def quoted(text: str, read: Callable[[str], Any]) -> str:
    """An override with its value quoted so that a shell and Hydra both leave it as it is; empty where none works.

    Args:
        text: `key=value` as the shell handed it over.
        read: an override's text -> its value, raising where it cannot be read.
    """
    key, equals, value = text.partition("=")
    if not equals or not value:
        return ""
    for mark in ('"', "'"):
        for inner in (value, value.replace(mark, "\\" + mark), value.replace("\\", "\\\\").replace(mark, "\\" + mark)):
            tried = f"{key}={mark}{inner}{mark}"
            try:
                if read(tried) == value:
                    return shlex.quote(tried)
            except Exception:  # whatever the parser raises, this quoting is no advice
                continue
    return ""
