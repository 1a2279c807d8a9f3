"""Whether a record is one that tables, figures and the report can rely on: types, ranges, names of one line.

A ledger is a folder that many hands write to: other versions, other machines, editors, half-finished copies. A record
that is not sound is named and skipped by `results.records.read_runs`; what reads records needs no guards of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

ID = re.compile(r"[\w.-]{1,120}")
LARGEST = 1e15  # of counts, bytes and seconds
LONGEST_NAME = 80  # three of them make the name of a figure's file
DEEPEST = 40
NAMES = ("method", "task", "backbone", "protocol", "fidelity", "experiment", "primary_metric", "primary_split")
NUMBERS = (
    "steps", "selected_step", "trainable_parameters", "head_parameters", "backbone_parameters", "peak_memory_bytes",
    "loaded_memory_bytes", "train_examples_per_second", "eval_examples_per_second", "wall_seconds", "epochs",
    "deployed_parameters", "compile_seconds",
)  # fmt: skip
MAPPINGS = ("config", "data", "selection", "versions", "metrics", "untrained_metrics", "ceiling", "truncated")
LENGTHS = ("prompt_length", "prefix_length")


def fault(record: Any, folder: str) -> str | None:
    """Why a record cannot be used, in a few words; None where it can.

    Args:
        record: what record.json holds.
        folder: the name of its folder, which is its id.
    """
    if not isinstance(record, Mapping):
        return f"record.json holds a {type(record).__name__}, not a mapping"
    missing = [key for key in ("run_id", "status", "method", "task") if not record.get(key)]
    if missing:
        return f"record.json lacks {', '.join(missing)}"
    return next(_faults(record, folder), None)


def _faults(record: Mapping[str, Any], folder: str) -> Iterator[str]:
    if record["run_id"] != folder or not ID.fullmatch(folder):
        yield f"its run_id {_shown(record['run_id'])} is not the name of its folder"
    yield from _unwritable(record)
    for key in NAMES:
        if not _is_name(record.get(key)):
            yield f"{key} is {_shown(record.get(key))}, a name of one line is wanted"
    for key in NUMBERS:
        if not _is_number(record.get(key), LARGEST):
            yield f"{key} is {_shown(record.get(key))}, a number from 0 to 1e15 is wanted"
    for key in MAPPINGS:
        if record.get(key) is not None and not isinstance(record[key], Mapping):
            yield f"{key} is {_shown(record[key])}, a mapping is wanted"
    if not _is_whole(record.get("seed")):
        yield f"seed is {_shown(record.get('seed'))}, a whole number is wanted"
    for key in ("metrics", "untrained_metrics", "ceiling"):
        yield from _scores(key, record.get(key) or {})
    yield from _verdicts(record.get("verdicts") or [])
    yield from _of_data(record.get("data") or {})
    yield from _of_selection(record.get("selection") or {})
    yield from _of_config(record.get("config") or {})


def _scores(key: str, splits: Any) -> Iterator[str]:
    for split, values in splits.items():
        if not isinstance(values, Mapping) or not _is_name(split):
            yield f"record.json holds {key} that are not {{split: {{name: value}}}}"
            return
        for name, value in values.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not _is_name(name) or not (value is None or (number and not abs(value) > 1 + 1e-6)):
                yield f"{key}.{split}.{one_line(name)} is {_shown(value)}, a fraction from -1 to 1 is wanted"


def _verdicts(found: Any) -> Iterator[str]:
    if not isinstance(found, list):
        yield f"verdicts are {_shown(found)}, a list is wanted"
        return
    for verdict in found:
        texts = isinstance(verdict, Mapping) and all(
            isinstance(verdict.get(k), str) for k in ("name", "level", "message")
        )
        if not texts:
            yield f"a verdict is {_shown(verdict)}, name, level and message are wanted"


def _of_data(data: Mapping[str, Any]) -> Iterator[str]:
    for key in ("rows", "used_rows", "official_rows"):
        rows = data.get(key)
        if rows is not None and not (isinstance(rows, Mapping) and all(_is_whole(n) for n in rows.values())):
            yield f"data.{key} is {_shown(rows)}, whole numbers by split are wanted"
    for key in ("source", "revision", "sha256"):
        if key != "sha256" and not isinstance(data.get(key), str | None):
            yield f"data.{key} is {_shown(data.get(key))}, a text is wanted"
    if not isinstance(data.get("verdicts") or [], list):
        yield f"data.verdicts are {_shown(data['verdicts'])}, a list is wanted"


def _of_selection(selection: Mapping[str, Any]) -> Iterator[str]:
    for key in ("split", "metric"):
        if not _is_name(selection.get(key)):
            yield f"selection.{key} is {_shown(selection.get(key))}, a name is wanted"


def _of_config(config: Mapping[str, Any]) -> Iterator[str]:
    """Values of the configuration that are not of the type that the schema gives them."""
    yield from _of_schema(config, _schema(), "config")
    if config.get("method") is not None and not isinstance(config["method"], Mapping):
        yield f"config.method is {_shown(config['method'])}, a mapping is wanted"
        return
    method = config.get("method") or {}
    rates = method.get("lr") or {}
    if not isinstance(rates, Mapping):
        yield f"config.method.lr is {_shown(rates)}, rates by name are wanted"
        return
    for name, rate in rates.items():
        if rate is not None and not (_is_number(rate, LARGEST) and rate > 0):
            yield f"config.method.lr.{one_line(name)} is {_shown(rate)}, a number above 0 is wanted"
    for key in LENGTHS:
        if not _is_whole(method.get(key)) or (method.get(key) or 0) < 0:
            yield f"config.method.{key} is {_shown(method.get(key))}, a whole number is wanted"
    for key, value in method.items():
        parts = list(value.values()) if key == "sources" and isinstance(value, Mapping) else value  # runs by name
        plain = all(isinstance(v, str | int | float | None) for v in (parts if isinstance(parts, list) else [parts]))
        if key not in ("lr", "options", "capabilities") and not plain:
            yield f"config.method.{one_line(key)} is {_shown(value)}, a plain value is wanted"


def _of_schema(values: Any, schema: type[Any], key: str) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"{key} is {_shown(values)}, a mapping is wanted"
        return
    for name, (inner, hint) in _types(schema).items():  # type: ignore[arg-type]
        if values.get(name) is None or name == "method":
            continue
        if inner is not None:
            yield from _of_schema(values[name], inner, f"{key}.{name}")
        elif not _fits(values[name], hint):
            yield f"{key}.{name} is {_shown(values[name])}, not of the type that the schema gives it"


@cache
def _schema() -> type[Any]:
    from conf.schema import Config

    return Config


@cache
def _types(schema: type[Any]) -> dict[str, tuple[type[Any] | None, Any]]:
    """Field -> (its own dataclass, its type)."""
    hints = get_type_hints(schema)
    return {f.name: (hints[f.name] if is_dataclass(hints[f.name]) else None, hints[f.name]) for f in fields(schema)}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value out of JSON is of an annotated type (int, str | None, list[str], dict[str, Any], ...)."""
    kind, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if kind in (UnionType, Union):
        return any(_fits(value, one) for one in inner)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    if hint is int:
        return value is not None and _is_whole(value)
    if kind is list:
        return isinstance(value, list) and all(_fits(v, inner[0]) for v in value)
    if kind is dict:
        return isinstance(value, Mapping) and all(_fits(v, inner[1]) for v in value.values())
    return isinstance(value, type(None) if hint is None else hint)


def _unwritable(record: Mapping[str, Any]) -> Iterator[str]:
    """Whatever could not be written into a page: half a surrogate pair, numbers of thousands of digits, a tower."""
    stack: list[tuple[str, Any, int]] = [("", record, 0)]
    while stack:
        key, value, depth = stack.pop()
        if depth > DEEPEST:
            yield f"{one_line(key)} is nested more than {DEEPEST} deep"
            return
        if isinstance(value, Mapping):
            stack += [(str(name), inner, depth + 1) for name, inner in value.items()]
            stack += [(key, name, depth) for name in value if not str(name).isascii()]
        elif isinstance(value, list):
            stack += [(key, inner, depth + 1) for inner in value]
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**30:
            yield f"{one_line(key)} is a number of {len(str(abs(value) // 10**30)) + 30} digits and more"
        elif isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            yield f"{one_line(key)} holds half of a surrogate pair, which is no text"


def _is_name(value: Any) -> bool:
    """Text of one printable line, or nothing."""
    if value is None:
        return True
    return isinstance(value, str) and len(value) <= LONGEST_NAME and (value.isprintable() or value == "")


def _is_number(value: Any, largest: float) -> bool:
    if value is None:
        return True
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and not (value < 0 or value > largest)  # NaN is neither: it is shown as nothing


def _is_whole(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST)


def _shown(value: Any) -> str:
    return one_line(repr(value))


def one_line(text: Any) -> str:
    """A few characters of one line, whatever they are."""
    plain = str(text).encode("ascii", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")
    return plain if len(plain) <= 60 else plain[:57] + "..."


def sound_history(rows: list[Any]) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl that hold what a curve needs; others are left out."""
    kept = []
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("step"), int) or not _is_whole(row["step"]):
            continue
        metrics = row.get("metrics")
        odd = metrics is not None and not (isinstance(metrics, dict) and not any(_scores("metrics", {"x": metrics})))
        loss = row.get("loss")
        if odd or not _is_name(row.get("split")) or (loss is not None and not _is_finite(loss)):
            continue
        kept.append(row)
    return kept


def sound_line(row: dict[str, Any]) -> bool:
    """Whether a line of predictions has an id, and text that can be shown."""
    return isinstance(row.get("id"), str | int) and next(_unwritable(row), None) is None


def sound_gates(content: dict[str, Any]) -> bool:
    """Whether a file of APT's gates holds what is drawn: numbers by layer and token, one number a layer."""
    layers, gate = content.get("layers"), content.get("layer_gate")
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, list) and layer for layer in layers):
        return False
    lengths = {len(layer) for layer in layers}
    numbers = [value for layer in layers for value in layer] + (gate if isinstance(gate, list) else [])
    return len(lengths) == 1 and isinstance(gate, list | None) and all(map(_is_finite, numbers))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
