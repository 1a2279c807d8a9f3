"""From overrides and grids to points: comma lists, ranges and globs, `+sweep=` files, tables, equal tuning.

A point is a mapping of override keys to value texts; whoever chose a key on the command line has it in every point. A
grid (the key `sweep` of a composed configuration) is a mapping with any of these, applied in this order:

    grid:   {key: [values]}            every combination
    pairs:  {key: [values], ...}       values of equal place belong together (length 60 with rank 30)
    rows:   [{key: value, ...}, ...]   the same, written by rows
    lengths: [values]                  of the method's prompt or prefix length: the `lengths` of its own YAML where
                                       there are some (as many, evenly spread), else these values
    space:  [pattern, ...]             keys of the method's own tuning space that match, every combination
    trials: N                          N points from the method's own tuning space (equal tuning)
    released: PAPER                    only points whose `released.set` is in the folder `released.root`
    parts:  [grid, ...]                further grids, each with `where: {key: value | [values]}` (globs allowed);
                                       the points of all parts that apply are put side by side
    by_budget: {released: grid, ...}   the grid that `budget.kind` names (the first one by default)
    controls: [shuffled_labels, ...]   what is put beside every point (runners/controls.py)
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from conf.capabilities import capabilities
from conf.choices import groups
from conf.compose import compose_raw
from conf.resolve import ConfigError, get, resolve
from results.identity import flatten
from results.released import missing

Chosen = dict[str, str]  # override key -> value as it would be written on the command line
KEYS = (
    "about", "where", "grid", "pairs", "rows", "lengths", "space", "trials", "parts", "by_budget", "name", "released",
    "controls",
)  # fmt: skip
CONTROLS = ("shuffled_labels", "random_prompt", "head_only", "matched_lora")
MAPPING, LISTS = "a mapping {key: values}", "a mapping {key: [values]}"
# part of a grid -> (its form in words, whether a value has it)
SHAPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "where": (MAPPING, lambda v: isinstance(v, Mapping)),
    "grid": (MAPPING, lambda v: isinstance(v, Mapping)),
    "pairs": (LISTS, lambda v: isinstance(v, Mapping) and all(isinstance(values, list) for values in v.values())),
    "rows": ("a list of mappings", lambda v: isinstance(v, list) and all(isinstance(row, Mapping) for row in v)),
    "lengths": ("a list of numbers", lambda v: isinstance(v, list) and all(type(length) is int for length in v)),
    "space": ("a list of patterns", lambda v: isinstance(v, list) and all(isinstance(text, str) for text in v)),
    "trials": ("a number from 1", lambda v: type(v) is int and v >= 1),
    "parts": ("a list of grids", lambda v: isinstance(v, list) and all(isinstance(part, Mapping) for part in v)),
    "controls": (
        f"a list of {', '.join(CONTROLS)}",
        lambda v: isinstance(v, list) and all(name in CONTROLS for name in v),
    ),
    "by_budget": ("a mapping {name: grid}", lambda v: isinstance(v, Mapping) and len(v) > 0),
}


def texts(point: Mapping[str, str]) -> list[str]:
    """The overrides of a point, as on the command line."""
    return [f"{'+' if key == 'sweep' else ''}{key}={value}" for key, value in point.items()]


def as_text(value: Any) -> str:
    """A YAML value in Hydra's override grammar."""
    return Override._get_value_element_as_str(value) if not isinstance(value, bool) else str(value).lower()


def swept(overrides: Sequence[Override]) -> list[Chosen]:
    """Every combination of the values that comma lists, ranges and globs name, in the order of a nested loop.

    Raises:
        ConfigError: a sweep that has no end (an interval), or a glob that matches nothing.
    """
    axes: list[list[tuple[str, str]]] = []
    problems = []
    for override in overrides:
        key = override.key_or_group
        if not override.is_sweep_override():
            axes.append([(key, override.get_value_element_as_str())])
            continue
        try:
            values = _values(override)
        except HydraException:
            problems.append(f"{override.input_line}: an interval has no points; write range(start,stop,step) or a list")
            continue
        if not values:
            problems.append(f"{override.input_line}: matches nothing")
        axes.append([(key, value) for value in dict.fromkeys(values)])
    if problems:
        raise ConfigError(problems)
    return [dict(chosen) for chosen in itertools.product(*axes)]


def expand(
    spec: Mapping[str, Any], point: Chosen, fixed: Iterable[str], notes: list[str] | None = None
) -> list[Chosen]:
    """The points that a grid makes of one point.

    Args:
        spec: the grid; see the module's text.
        point: what is chosen so far.
        fixed: keys that were chosen on the command line: the grid leaves them alone.
        notes: gets a sentence for each part of the grid that does nothing for this point.

    Raises:
        ConfigError: the grid is not well formed, or the method has no such space.
    """
    _check(spec)
    notes = [] if notes is None else notes
    held = set(fixed)
    points = [point]
    for axis in _axes(spec, point, held):
        points = [p | extra for p in points for extra in axis]
    if spec.get("by_budget"):
        points = [q for p in points for q in expand(_of_budget(spec["by_budget"], p), p, held, notes)]
    if spec.get("released"):
        points = _released(points, notes)
    if spec.get("parts"):
        points = [q for p in points for q in _parts(spec["parts"], p, held, notes)]
    if spec.get("lengths"):
        points = [q for p in points for q in _lengths(spec["lengths"], p, held, notes)]
    if spec.get("space"):
        points = [q for p in points for q in _space(spec["space"], p, held | set(p), notes)]
    if spec.get("trials"):
        points = [q for p in points for q in trials(int(spec["trials"]), p, held | set(p), notes)]
    return points


def trials(count: int, point: Chosen, fixed: Iterable[str], notes: list[str] | None = None) -> list[Chosen]:
    """`count` points from the method's own space, the same ones for the same `budget.seed` and method.

    The method's own defaults come first, where its space lists them (nobody tunes without trying them), then the other
    listed combinations in a drawn order, all before anything else and without repetition; a method whose list is
    shorter gets further values between its smallest and largest ones, drawn evenly on a logarithmic scale.

    Raises:
        ConfigError: the method declares no space, or one that has too few values.
    """
    config = compose_raw(texts(point))
    name = config["method"]["name"]
    if not capabilities(config["method"]).trains:
        if notes is not None:
            notes.append(f"method={name} trains nothing: one point of it instead of {count} trials")
        return [point]
    space = {key: values for key, values in space_of(config).items() if key not in set(fixed)}
    if not space:
        raise ConfigError([f"budget.trials={count}: method {name} declares no space to draw from (conf/method)"])
    # a string seeds Python's generator alike on every machine
    generator = random.Random(f"{get(config, 'budget.seed', 0)}:{name}:{count}")
    listed = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    defaults = resolve(config)
    first = [values for values in listed if all(get(defaults, key) == value for key, value in values.items())]
    others = [values for values in listed if values not in first]
    chosen = (first + generator.sample(others, len(others)))[:count]
    attempts = 0
    while len(chosen) < count:
        drawn = {key: _between(values, generator) for key, values in space.items()}
        if drawn not in chosen:
            chosen.append(drawn)
        attempts += 1
        if attempts > 100 * count:
            raise ConfigError([f"budget.trials={count}: the space of method {name} has {len(chosen)} points at most"])
    return [point | {key: as_text(value) for key, value in values.items()} for values in chosen]


def space_of(config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The method's own tuning space on this backbone: full key -> values."""
    declared = config["method"].get("space") or {}
    backbone = config["backbone"]
    block: Mapping[str, Any] = next(
        (declared[k] for k in (backbone.get("name"), backbone.get("family"), "default") if k in declared), {}
    )
    return {f"method.{key}": list(values) for key, values in flatten(block)}


def applies(where: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a composed configuration meets every condition; a group's condition is on its name."""
    for key, wanted in where.items():
        seen = get(config, f"{key}.name" if key in groups() else key)
        if not any(_fits(seen, value) for value in (wanted if isinstance(wanted, list) else [wanted])):
            return False
    return True


def _fits(seen: Any, wanted: Any) -> bool:
    return fnmatchcase(seen, wanted) if isinstance(seen, str) and isinstance(wanted, str) else bool(seen == wanted)


def _values(override: Override) -> list[str]:
    """Value texts of a sweep; a glob runs over every option of its group (`task=glob(superglue/*)`)."""
    value = override.value()
    if isinstance(value, Glob):
        return list(value.filter(groups().get(override.key_or_group, [])))
    return list(override.sweep_string_iterator())


def _check(spec: Any) -> None:
    """Whether a grid is well formed.

    Raises:
        ConfigError: with every part that is not.
    """
    if not isinstance(spec, Mapping):
        raise ConfigError([f"sweep={spec!r}: a grid is a mapping with some of {', '.join(KEYS)}"])
    unknown = sorted(set(spec) - set(KEYS), key=str)
    problems = [f"sweep.{key}: not a part of a grid; allowed are {', '.join(KEYS)}" for key in unknown]
    problems += [
        f"sweep.{key}={spec[key]!r}: {wanted} is wanted"
        for key, (wanted, fits) in SHAPES.items()
        if spec.get(key) is not None and not fits(spec[key])
    ]
    if not problems:
        for part in (*(spec.get("parts") or ()), *(spec.get("by_budget") or {}).values()):
            _check(part)
        empty = [f"{key}.{name}" for key in ("grid", "pairs") for name, v in (spec.get(key) or {}).items() if v == []]
        problems += [f"sweep.{key}=[]: there is nothing to choose from" for key in empty]
        lengths = {key: len(values) for key, values in (spec.get("pairs") or {}).items()}
        if len(set(lengths.values())) > 1:
            problems.append(f"sweep.pairs: the lists must be of one length, not {lengths}")
    if problems:
        raise ConfigError(problems)


def _axes(spec: Mapping[str, Any], point: Chosen, held: set[str]) -> list[list[Chosen]]:
    """The choices of grid, pairs and rows, without the keys that the command line holds."""
    axes = [
        [{key: as_text(value)} for value in (values if isinstance(values, list) else [values])]
        for key, values in (spec.get("grid") or {}).items()
        if key not in held
    ]
    pairs = spec.get("pairs") or {}
    rows = [dict(zip(pairs, values, strict=True)) for values in zip(*pairs.values(), strict=True)]
    for table in (rows, spec.get("rows") or []):
        written = [{key: as_text(value) for key, value in row.items()} for row in table]
        if written:
            axes.append(_free(written, point, held))
    return axes


def _free(rows: Sequence[Chosen], point: Chosen, held: set[str]) -> list[Chosen]:
    """Rows for a point that holds some of their keys: those with its values, or all of them without those keys."""
    for key in held & {key for row in rows for key in row}:
        like = [row for row in rows if row.get(key) == point.get(key)]
        rows = like or rows
    return _distinct({key: value for key, value in row.items() if key not in held} for row in rows)


def _parts(parts: Sequence[Mapping[str, Any]], point: Chosen, held: set[str], notes: list[str]) -> list[Chosen]:
    config = compose_raw(texts(point))
    found = [p for part in parts if applies(part.get("where") or {}, config) for p in expand(part, point, held, notes)]
    if not found:
        notes.append(f"no part of the grid is for {' '.join(texts(point)) or 'this point'}: it stays one point")
    return _distinct(found) or [point]


def _released(points: list[Chosen], notes: list[str]) -> list[Chosen]:
    """The points whose released parameters are there; the others are left out with the reason."""
    root = str(points[0].get("released.root", "")).strip("'\"")
    if not root:
        raise ConfigError(
            ["released.root=<folder>: where the authors' checkpoints lie (their repository's checkpoints/)"]
        )
    if not Path(root).is_dir():
        raise ConfigError([f"released.root={root}: no such folder (from {Path.cwd()})"])
    why = {point["released.set"]: missing(root, point["released.set"]) for point in points}
    kept = [point for point in points if not why[point["released.set"]]]
    if not kept:
        raise ConfigError([f"released.root={root}: none of the sets {', '.join(why)} can be scored from there"])
    notes += [f"left out: {reason}" for reason in why.values() if reason]
    return kept


def _lengths(values: Sequence[Any], point: Chosen, held: set[str], notes: list[str]) -> list[Chosen]:
    method = compose_raw(texts(point))["method"]
    key, own = capabilities(method).length, method.get("lengths")
    if key is None:
        notes.append(f"method={method['name']} has no prompt or prefix length to vary: it stays one point")
        return [point]
    rows = [dict(zip(own, row, strict=True)) for row in zip(*own.values(), strict=True)] if own else []
    rows = _spread(rows, len(values)) or [{key: value} for value in values]
    written = [{f"method.{option}": as_text(value) for option, value in row.items()} for row in rows]
    return [point | row for row in _free(written, point, held | set(point))]


def _spread(rows: list[Any], count: int) -> list[Any]:
    """At most `count` of the rows, evenly spread, the first and the last among them."""
    if len(rows) <= count or count < 2:
        return rows[: max(count, 1)] if count < 2 else rows
    return [rows[i * (len(rows) - 1) // (count - 1)] for i in range(count)]


def _space(patterns: Sequence[str], point: Chosen, held: set[str], notes: list[str]) -> list[Chosen]:
    config = compose_raw(texts(point))
    space = space_of(config)
    stems = [f"method.{pattern}" for pattern in patterns]
    keys = [key for key in space if key not in held | set(point) and any(fnmatchcase(key, stem) for stem in stems)]
    if not keys:
        notes.append(
            f"method={config['method']['name']} has nothing left to vary in {', '.join(stems)} (`space` of its YAML)"
        )
    lists = ([as_text(value) for value in space[key]] for key in keys)
    return [point | dict(zip(keys, values, strict=True)) for values in itertools.product(*lists)]


def _of_budget(grids: Mapping[str, Any], point: Chosen) -> Mapping[str, Any]:
    kind = point.get("budget.kind") or next(iter(grids))
    if kind not in grids:
        raise ConfigError([f"budget.kind={kind}: this table has {', '.join(grids)}"])
    return grids[kind]


def _distinct(points: Iterable[Chosen]) -> list[Chosen]:
    return [dict(items) for items in dict.fromkeys(tuple(point.items()) for point in points)]


def _between(values: Sequence[Any], generator: random.Random) -> Any:
    """A value between the smallest and the largest, to two digits; a listed one where they are no positive numbers."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    if len(numbers) < len(values) or len(set(numbers)) < 2:
        return generator.choice(list(values))
    drawn = math.exp(generator.uniform(math.log(min(numbers)), math.log(max(numbers))))
    if all(isinstance(v, int) for v in numbers):
        return round(drawn)
    return float(f"{drawn:.1e}")
