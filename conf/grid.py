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
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from conf.capabilities import capabilities
from conf.compose import compose_raw, groups
from conf.resolve import ConfigError, get, resolve
from results.identity import flatten
from results.released import missing

Chosen = dict[str, str]  # override key -> value as it would be written on the command line
KEYS = (
    "about", "where", "grid", "pairs", "rows", "lengths", "space", "trials", "parts", "by_budget", "name", "released",
)  # fmt: skip
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
    "by_budget": ("a mapping {name: grid}", lambda v: isinstance(v, Mapping) and len(v) > 0),
}
KEYS = (
    "about",
    "where",
    "grid",
    "pairs",
    "rows",
    "lengths",
    "space",
    "trials",
    "parts",
    "by_budget",
    "name",
    "released",
)
