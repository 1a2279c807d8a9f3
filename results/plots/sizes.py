"""Score against model size: a line per series of a table whose rows lie on several backbones.

Lester et al. 2021, figures 1 and 3; DePT and ACCEPT by model size. What is drawn are cells of the table, so that figure
and table never say two things: a row's x is the parameters of its backbone, its y the table's mean over tasks (else its
first column of scores), and its series the row without the backbone ("small, prompt tuning" lies on "prompt tuning").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from results.plots import palette, style
from results.records import Run
from results.tables.layout import ColumnSpec, Layout, RowSpec, free
from results.tables.model import Table
from results.tables.state import State


@dataclass(frozen=True)
class Place:
    """A row in the figure.

    Attributes:
        size: parameters of its backbone; y: points, None where the cell is not whole; seeds: the same of every seed.
        published: the published value beside it, in points; model: the backbone's name; ids: runs behind it.
    """

    size: float
    y: float | None
    seeds: tuple[float, ...] = ()
    published: float | None = None
    model: str = ""
    ids: tuple[str, ...] = ()


@dataclass
class Figure:
    """What is drawn: places by series, the method of each series, and the rows that are left out with the reason."""

    column: ColumnSpec
    series: dict[str, list[Place]] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def drawn(self) -> bool:
        """Whether some row has a score of ours."""
        return any(place.y is not None for places in self.series.values() for place in places)


def figure_of(state: State, table: Table) -> Figure:
    """The places of a filled table; rows without a backbone of their own, or of unknown size, are left out."""
    made = Figure(_column(state))
    sizes = _sizes(state)
    for index, row in enumerate(state.layout.rows):
        backbone = row.where.get("backbone")
        if row.value != "score" or not isinstance(backbone, str):
            continue
        name = series_of(row)
        cell = table.rows[index].cells[made.column.key]
        if cell.value is None and cell.text not in ("missing", "–"):
            made.left_out.append(f"{row.label} ({cell.text})")
        if backbone not in sizes or (cell.value is None and cell.published is None):
            continue
        ids = tuple(dict.fromkeys(cell.run_ids)) if cell.value is not None else ()
        place = Place(
            sizes[backbone], cell.value, _by_seed(state, table, index, made.column), cell.published, backbone, ids
        )
        made.series.setdefault(name, []).append(place)
        made.methods[name] = str(row.where.get("method") or state.layout.where.get("method") or name)
    for places in made.series.values():
        places.sort(key=lambda place: place.size)
    return made


def series_of(row: RowSpec) -> str:
    """A row's label without its backbone: without its group in front, or the backbone behind or in brackets."""
    label = row.label.removeprefix(f"{row.group}, ") if row.group else row.label
    if split := re.fullmatch(r"(.*) \[(.*)\]", label):
        rest = [part for part in split[2].split(", ") if not part.startswith("backbone=")]
        label = f"{split[1]} [{', '.join(rest)}]" if rest else split[1]
    return label.removesuffix(f", {row.where.get('backbone')}")


def methods_by_backbone(runs: Sequence[Run], filters: Mapping[str, Any]) -> Layout:
    """A free table of methods crossed with backbones, with the mean over all tasks that runs have."""
    layout = free(runs, "method,backbone", "task", filters)
    said = "".join(f", {name} {_listed(value)}" for name, value in filters.items())
    rows = tuple(
        replace(row, label=f"{palette.label(str(row.where['method']))}, {row.where['backbone']}") for row in layout.rows
    )
    layout = replace(layout, title=f"Score by model size{said}", rows=rows)
    keys = tuple(column.key for column in layout.columns if column.kind == "score")
    if len(keys) < 2:
        return layout
    mean = ColumnSpec("mean", "Avg.", "average", of=keys)
    return replace(layout, columns=(*layout.columns, mean))


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _column(state: State) -> ColumnSpec:
    """The table's mean over tasks, else its first column of scores."""
    means = [column for column in state.layout.columns if column.of]
    return (means or [column for column in state.layout.columns if column.kind == "score"])[-1 if means else 0]


def _sizes(state: State) -> dict[str, float]:
    """Backbone -> parameters, as its runs counted them."""
    found: dict[str, float] = {}
    for filled in state.filled.values():
        for run in filled.runs:
            count = run.record.get("backbone_parameters")
            if isinstance(count, int | float) and count > 0:
                found.setdefault(str(run.get("backbone")), float(count))
    return found


def _by_seed(state: State, table: Table, index: int, column: ColumnSpec) -> tuple[float, ...]:
    """What each seed had, where all cells behind a mean have the same seeds."""
    groups = [[part] if isinstance(part, str) else list(part) for part in column.of] or [[column.key]]
    cells = [[table.rows[index].cells[key].scores for key in group] for group in groups]
    seeds = {tuple(str(run.get("seed")) for run in state.filled[index, key].runs) for group in groups for key in group}
    counts = {len(scores) for group in cells for scores in group}
    if len(seeds) != 1 or len(counts) != 1 or counts <= {0, 1}:
        return ()
    means = [[sum(values) / len(values) for values in zip(*group, strict=True)] for group in cells]
    return tuple(sum(values) / len(values) for values in zip(*means, strict=True))


def draw(state: State, table: Table, out: Path, name: str) -> list[Path]:
    """One figure of a table, PNG and PDF; nothing where no row on a known backbone has a score."""
    if not any(column.kind == "score" for column in state.layout.columns):
        return []
    made = figure_of(state, table)
    if not made.drawn:
        return []
    with style.look():
        figure, (axes,) = style.grid(1, width=7.6, height=4.6)
        for series, colour, marker in _looks(made):
            _line(axes, series, made.series[series], colour, marker)
        _axis(axes, [place for places in made.series.values() for place in places])
        axes.set_ylabel(_what(state, made.column))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", handlelength=2.2)
        caption = _caption(state, table, made)
        style.finish(figure, state.layout.title, caption)
        return style.save(figure, out, name, caption)


def _looks(made: Figure) -> list[tuple[str, str, str]]:
    """(series, colour, marker): a method's own where each series is another method, else shades in their order."""
    names = list(made.series)
    if len(set(made.methods.values())) == len(names):
        return [(n, palette.colour(made.methods[n]), palette.marker(made.methods[n])) for n in names]
    shades = colormaps["viridis"]
    step = max(len(names) - 1, 1)
    return [(n, _hex(shades(0.9 * i / step)), "osD^vPX"[i % 7]) for i, n in enumerate(names)]


def _hex(rgba: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgba[:3])


def _line(axes: Axes, series: str, places: Sequence[Place], colour: str, marker: str) -> None:
    ours = [place for place in places if place.y is not None]
    if ours:
        line = [(place.size, place.y) for place in ours]
        axes.plot(*zip(*line, strict=True), color=colour, marker=marker, markersize=7, linewidth=2, label=series)  # type: ignore[arg-type]
    for place in ours:
        if place.seeds:
            axes.scatter(
                [place.size] * len(place.seeds), place.seeds, s=12, color=colour, alpha=0.5, linewidths=0, zorder=3
            )
    theirs = [(place.size, place.published) for place in places if place.published is not None]
    if theirs:
        axes.plot(
            *zip(*theirs, strict=True), linestyle="none", marker=marker, markersize=11, markerfacecolor="none",
            markeredgecolor=colour, markeredgewidth=1.4, label=f"{series}, published",
        )  # type: ignore[arg-type]  # fmt: skip


def _axis(axes: Axes, places: Sequence[Place]) -> None:
    """A logarithmic axis whose ticks are the models, one size each."""
    models: dict[float, list[str]] = {}
    for place in places:
        names = models.setdefault(place.size, [])
        if place.model not in names:
            names.append(place.model)
    sizes = sorted(models)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, [f"{short(size)}\n" + "\n".join(models[size]) for size in sizes], fontsize=8)
    axes.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)
    axes.margins(y=0.12)
    axes.set_xlabel("parameters of the model")


def short(count: float) -> str:
    """77 M, 2.9 B."""
    scale, letter = (1e9, "B") if count >= 1e9 else (1e6, "M") if count >= 1e6 else (1e3, "K")
    return f"{count / scale:.1f} {letter}" if count < 10 * scale else f"{count / scale:.0f} {letter}"


def _what(state: State, column: ColumnSpec) -> str:
    if not column.of:
        return f"{column.label} (points)"
    parts: Mapping[str, None] = dict.fromkeys(
        next(c.label for c in state.layout.columns if c.key == (part if isinstance(part, str) else part[0]))
        for part in column.of
    )
    names = list(parts)
    return f"mean of {', '.join(names)} (points)" if len(names) <= 4 else f"mean of {len(names)} tasks (points)"


def _caption(state: State, table: Table, made: Figure) -> str:
    ids = list(dict.fromkeys(i for places in made.series.values() for place in places for i in place.ids))
    seeds = any(place.seeds for places in made.series.values() for place in places)
    said = [
        f"Cells of the table, {_what(state, made.column)[:-9]}, in points"
        + ("; small dots: every seed" if seeds else "")
    ]
    if any(place.published is not None for places in made.series.values() for place in places):
        said.append("hollow: published")
    if made.left_out:
        said.append(f"left out, tasks that are there of those wanted: {', '.join(made.left_out)}")
    if any(run.is_fixture for filled in state.filled.values() for run in filled.runs):
        said.append("runs on synthetic rows or random weights: no scientific value")
    more = " ".join(state.layout.caption)
    return f"{'; '.join(said)}. {more} From the ledger: {style.provenance(ids)}.".replace("  ", " ")
