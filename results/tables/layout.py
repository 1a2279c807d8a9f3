"""Layouts of tables: which rows, which columns, which published table stands beside them.

A paper's layouts are data in `results/layouts/<paper>.yaml`; a free table (`rows=method cols=task`) makes its
layout from the runs that are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from results.controls import MARK
from results.filters import said
from results.identity import flatten
from results.records import UNTRAINED, Run, matches
from results.standing import told
from results.tables.checked import LayoutError, check

FOLDER = Path(__file__).resolve().parent.parent / "layouts"
# a table never averages over these, and never mixes them without saying so
SETTINGS = ("backbone", "protocol", "protocol.label_words", "fidelity")
FACETS = ("method", "task", *SETTINGS)
ROW_KEYS = frozenset(["label", "where", "cells", "without", "value", "published", "group", "reference", "command"])
COLUMN_KEYS = frozenset(
    ["label", "where", "metric", "published", "published_metric", "group", "kind", "of", "note", "task", "experiments"]
)
TABLE_KEYS = frozenset(
    ["title", "where", "columns", "rows", "reference", "spread", "caption", "command", "experiments", "lineage"]
)


@dataclass(frozen=True)
class ColumnSpec:
    """A column: the runs it takes (`where`), or what it averages (`of`: keys of other columns; a tuple counts once)."""

    key: str
    label: str
    kind: str = "score"
    group: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    published: str | tuple[str, ...] | None = None  # its name in the published table; any of several
    published_metric: str | None = None
    of: tuple[str | tuple[str, ...], ...] = ()
    note: str = ""
    experiments: bool = True  # false: the table's experiments have no point of it


@dataclass(frozen=True)
class RowSpec:
    """A row: the runs it takes (none if `where` is empty), and the method's name in the published table.

    `cells` narrows single cells further, by the key of their column: what "half the length" is differs by method.
    `without` names columns in which it has no cell at all. `value` is one of VALUES: "score"; "untrained" for the
    evaluation at step 0; "median" over the trials; "best" of the seeds, their "vote", or the answers of their mean
    probabilities ("soft").
    """

    label: str
    where: Mapping[str, Any] = field(default_factory=dict)
    cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    value: str = "score"
    published: str | None = None
    group: str = ""
    reference: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def one_number(self) -> bool:
        """Whether its cells are one number of a whole grid or of several seeds: nothing to test, no spread."""
        return self.value not in ("score", "untrained")

    @property
    def method(self) -> str:
        """The method's name, where the row is one method's."""
        method = self.where.get("method")
        return method if isinstance(method, str) else self.label

    @property
    def methods(self) -> list[Any]:
        """The methods whose runs it takes, in any of its cells."""
        given = [where.get("method") for where in (self.where, *self.cells.values())]
        return [name for names in given for name in (names if isinstance(names, list | tuple) else [names])]

    def taking(self, column: ColumnSpec) -> dict[str, Any]:
        """What the runs of the cell of this row and a column have, as a command would ask for them."""
        return {**self.where, **self.cells.get(column.key, {}), **column.where}

    def takes(self, run: Run, column: ColumnSpec) -> bool:
        """Whether a run stands in the cell: it has what the row asks for and what the column asks for.

        Where both ask for one key they have to agree; neither's heading may stand over another one's runs.
        """
        return all(matches(run, where) for where in (self.where, self.cells.get(column.key, {}), column.where))


@dataclass(frozen=True)
class Layout:
    """A table before it is filled; `experiments` names the experiment that makes a method's runs in it."""

    paper: str
    name: str
    title: str
    columns: tuple[ColumnSpec, ...]
    rows: tuple[RowSpec, ...]
    where: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    spread: str = "sd"
    caption: tuple[str, ...] = ()
    command: str = ""
    experiments: Mapping[str, str] = field(default_factory=dict)
    lineage: str = ""
    only: str = ""  # what a user narrowed it to: said wherever the table is shown

    def __post_init__(self) -> None:
        """Whatever makes a layout, a method that is known from an abstract alone is called so in it."""
        rows = tuple(replace(row, label=told(row.methods, row.label)) for row in self.rows)
        columns = tuple(
            replace(column, label=told(column.where.get("method"), column.label)) for column in self.columns
        )
        for name, value in (
            ("rows", rows),
            ("columns", columns),
            ("title", told(self.where.get("method"), self.title)),
        ):
            object.__setattr__(self, name, value)

    @property
    def narrows(self) -> bool:
        """Whether rows narrow their cells, so that what is asked is each cell less the first of its row."""
        return any(row.cells for row in self.rows)

    def holds(self, run: Run) -> bool:
        """Whether a run stands in some cell of scores or measurements, chosen or not."""
        return matches(run, self.where) and any(
            row.takes(run, column)
            for row in self.rows
            if row.where
            for column in self.columns
            if not column.of and column.kind not in ("parameters", "size") and column.key not in row.without
        )

    def narrowed(self, filters: Mapping[str, Any]) -> Layout:
        """The same table over fewer runs."""
        only = f"Only runs with {said(filters)}." if filters else ""
        return replace(self, where={**self.where, **filters}, only=only)


def papers() -> list[str]:
    """Papers that have a layout."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(paper: str, table: str | None = None) -> Layout:
    """The layout of a paper's table; the paper's first one where no table is named.

    Raises:
        LayoutError: If the paper or the table is not there, or the file is wrong.
    """
    import yaml

    if paper not in papers():
        near = get_close_matches(paper, papers(), 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise LayoutError(f"paper={paper}: there is no such layout{hint}; there are: {', '.join(papers())}")
    tables = yaml.safe_load((FOLDER / f"{paper}.yaml").read_text(encoding="utf-8"))["tables"]
    tables = {str(name): spec for name, spec in tables.items()}
    name = next(iter(tables)) if table is None else str(table)
    if name not in tables:
        raise LayoutError(f"table={name}: paper {paper} has the tables {', '.join(tables)}")
    return parse(paper, name, tables[name])


def tables_of(paper: str) -> list[str]:
    """Names of the tables of a paper."""
    import yaml

    load(paper)
    return [str(name) for name in yaml.safe_load((FOLDER / f"{paper}.yaml").read_text("utf-8"))["tables"]]


def parse(paper: str, name: str, spec: Mapping[str, Any]) -> Layout:
    """A layout from the mapping of its YAML; unknown keys are refused."""
    _check_keys(f"{paper} table {name}", spec, TABLE_KEYS)
    columns: list[ColumnSpec] = []
    for key, column in spec["columns"].items():
        column = {"label": str(key), **(column or {})}
        _check_keys(f"{paper} table {name}, column {key}", column, COLUMN_KEYS)
        where = {**column.pop("where", {}), **({"task": column.pop("task")} if "task" in column else {})}
        of = tuple(tuple(key) if isinstance(key, list) else key for key in column.pop("of", ()))
        kind = column.pop("kind", "average" if of else "score")
        columns.append(ColumnSpec(str(key), where=where, of=of, kind=kind, **column))
    rows = []
    for row in spec["rows"]:
        _check_keys(f"{paper} table {name}, row {row.get('label')}", row, ROW_KEYS)
        rows.append(RowSpec(**row))
    made = Layout(
        paper,
        name,
        spec.get("title", ""),
        tuple(columns),
        tuple(rows),
        where=spec.get("where", {}),
        reference=spec.get("reference", {}),
        spread=spec.get("spread", "sd"),
        caption=tuple(spec.get("caption", ())),
        command=spec.get("command", ""),
        experiments=spec.get("experiments", {}),
        lineage=spec.get("lineage", ""),
    )
    check(made)
    return made


def free(runs: Sequence[Run], rows: str, cols: str, filters: Mapping[str, Any]) -> Layout:
    """A layout `rows` x `cols` over the runs that match; both are facets or dotted config keys, several with commas.

    Raises:
        LayoutError: If a name is found in no run.
    """
    kept = [run for run in runs if matches(run, filters)]
    names, across = (tuple(key.strip() for key in keys.split(",") if key.strip()) for keys in (rows, cols))
    for name in dict.fromkeys((*names, *across)):
        if runs and all(run.get(name) is None for run in runs):
            raise LayoutError(
                f"{name}: no run has it; use method, task, backbone, protocol, seed, fidelity, data.source "
                "or a config key such as method.prompt_length"
            )
        if any(isinstance(run.get(name), Mapping | tuple) for run in runs):
            raise LayoutError(f"{name}: it holds several values; name one of them (method.lr.prompt, not method.lr)")
    columns = [ColumnSpec("params", "params", "parameters")]
    for where in _crossed(kept, across):
        key = ",".join(f"{name}={value}" for name, value in where.items())
        columns.append(ColumnSpec(key, _named(where), where=where, group=cols))
    columns.append(ColumnSpec("size", "n test", "size"))
    specs: list[RowSpec] = []
    for where in _crossed(kept, names):
        control = str(where.get("method")).endswith(MARK)  # before training it is what its method is
        if "method" in names and not control and any(_scored_untrained(run) and matches(run, where) for run in kept):
            specs.append(RowSpec(f"untrained {_named(where)}", where, value="untrained"))
        specs.append(RowSpec(_named(where), where))
    specs.sort(key=lambda spec: spec.value != "untrained" and spec.where.get("method") not in UNTRAINED)
    title = f"{rows} by {cols}" + (f", {said(filters)}" if filters else "")
    lost = _without(kept, (*names, *across))
    return Layout("", "free", title, tuple(columns), tuple(specs), where=dict(filters), caption=lost)


def _scored_untrained(run: Run) -> bool:
    return run.score(untrained=True) is not None


def _without(runs: Sequence[Run], names: Sequence[str]) -> tuple[str, ...]:
    """The finished runs that stand in no cell of a free table, because they have no such key, by the key."""
    lacking: dict[frozenset[str], list[str]] = {}  # by the runs: keys that the same runs lack are said once
    for name in dict.fromkeys(names):
        ids = frozenset(run.id for run in runs if run.done and run.get(name) is None)
        if ids:
            lacking.setdefault(ids, []).append(name)
    return tuple(
        f"{len(ids)} finished runs have no {' and no '.join(keys)} and stand in no cell."
        if len(ids) > 1
        else f"1 finished run has no {' and no '.join(keys)} and stands in no cell."
        for ids, keys in lacking.items()
    )


def _crossed(runs: Sequence[Run], names: Sequence[str]) -> list[dict[str, Any]]:
    """The combinations of values of some facets that runs have; several facets are crossed."""
    orders = [{value: place for place, value in enumerate(_values(runs, name))} for name in names]
    seen = dict.fromkeys(tuple(run.get(name) for name in names) for run in runs)
    whole = [values for values in seen if None not in values]
    whole.sort(key=lambda values: [order[value] for order, value in zip(orders, values, strict=True)])
    return [dict(zip(names, values, strict=True)) for values in whole]


def _named(where: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in where.values())


def check_filters(filters: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Refuse a filter that no run knows, with the nearest name that one does.

    Raises:
        LayoutError: For such a filter.
    """
    if "ledger" in filters:  # else taken for a filter that no run matches
        raise LayoutError("ledger=: the folder of the runs is said by ledger.root=DIR")
    for name in filters if runs else ():
        if any(run.get(name) is not None for run in runs):
            continue
        known = {key for run in runs[:50] for key, _ in flatten(run.config)} | {"method", "task", "backbone"}
        known |= {"protocol", "seed", "status", "fidelity", "data.source"}
        if name in known:
            continue
        near = get_close_matches(name, sorted(known), 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise LayoutError(f"{name}=: no run of the ledger has such a key{hint}")


def _values(runs: Sequence[Run], name: str) -> list[Any]:
    """Values of a facet: numbers in their order, names as they first appear when sorted."""
    values = {run.get(name) for run in runs} - {None}
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _check_keys(where: str, given: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Refuse keys that a layout does not know."""
    unknown = set(given) - allowed
    if unknown:
        raise LayoutError(
            f"layout {where}: unknown {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(allowed))}"
        )
