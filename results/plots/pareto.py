"""Pareto figures: score against trainable parameters, training speed and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

from results.plots import palette, style
from results.plots.runs import GridPoint, Panel


@dataclass(frozen=True)
class Axis:
    """A cost (less is better) or a gain (more is better) on the horizontal axis."""

    key: str
    label: str
    scale: float = 1.0
    log: bool = False
    more_is_better: bool = False
    measured: bool = False


AXES = (
    Axis("trainable_parameters", "trainable parameters", log=True),
    Axis("train_examples_per_second", "training speed (examples/s)", more_is_better=True, measured=True),
    Axis("peak_memory_bytes", "peak memory (MiB)", scale=1 / 2**20, measured=True),
)


def front(places: list[tuple[float, float]], *, more_is_better: bool = False) -> list[tuple[float, float]]:
    """The places (x, score) that no other place beats in both, ordered by x.

    A place is beaten by one that is no worse in both and better in one.
    """
    sign = -1 if more_is_better else 1
    best = float("-inf")
    kept = []
    for x, score in sorted(places, key=lambda place: (sign * place[0], -place[1])):
        if score > best:
            kept.append((x, score))
            best = score
    return sorted(kept)


def draw(panel: Panel, out: Path, name: str, *, every_point: bool = False) -> list[Path]:
    """One figure of a panel: three axes, a mark per method (with ``every_point`` one per grid point)."""
    figure, axes = style.grid(3, width=11, height=4.0, sharey=True)
    chosen: list[GridPoint] = []
    for method in sorted(panel.by_method(), key=palette.order):
        best = panel.best(method)
        chosen += panel.by_method()[method] if every_point or best is None else [best]
    for place, axis in zip(axes, AXES, strict=True):
        _panel(place, axis, chosen)
    axes[0].set_ylabel(f"{panel.runs[0].primary_split} {style.metric_label(panel.metric)}")
    # a method without parameters of its own (a trained head alone) has no place on the first axes
    unique = {label: h for place in axes for h, label in zip(*place.get_legend_handles_labels(), strict=True)}
    figure.legend(unique.values(), unique.keys(), loc="outside right center")
    caption = _caption(panel, chosen, every_point)
    style.finish(figure, panel.title, caption)
    return style.save(figure, out, name, caption)


def _panel(axes: Axes, axis: Axis, points: list[GridPoint]) -> None:
    places = []
    for point in points:
        runs = tuple(run for run in point.runs if not (axis.measured and run.packed))
        x, score = GridPoint(runs).median(axis.key) if runs else None, point.mean()
        if x is None or score is None or (axis.log and x <= 0):
            continue
        x *= axis.scale
        spread = point.spread()
        axes.errorbar(
            x,
            100 * score,
            yerr=None if spread is None else 100 * spread,
            fmt=palette.marker(point.method),
            markersize=7,
            color=palette.colour(point.method),
            elinewidth=1.2,
            capsize=2.5,
            label=palette.label(point.method),
        )
        seeds = [100 * value for value in point.scores()]
        if len(seeds) > 1:  # every seed is visible
            dots = {"s": 9, "color": palette.colour(point.method), "alpha": 0.55, "linewidths": 0, "zorder": 3}
            axes.scatter([x] * len(seeds), seeds, **dots)  # type: ignore[arg-type]
        places.append((x, 100 * score))
    line = front(places, more_is_better=axis.more_is_better)
    if len(line) > 1:
        steps = "steps-pre" if axis.more_is_better else "steps-post"
        axes.plot(*zip(*line, strict=True), color=style.MUTED, linewidth=1, drawstyle=steps, zorder=0)
    arrow = "more is better →" if axis.more_is_better else "← less is better"
    axes.set_xlabel(f"{axis.label}\n{arrow}")
    if axis.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # the default writes mathematics, which is off here
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.ticklabel_format(axis="x", useOffset=False)
    if not places:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=style.MUTED)
    axes.margins(x=0.1)


def _caption(panel: Panel, chosen: list[GridPoint], every_point: bool) -> str:
    which = "every grid point" if every_point else f"each method at its grid point chosen on validation{panel.unchosen}"
    ids = [run.id for point in chosen for run in point.runs]
    packed = sum(run.packed for point in chosen for run in point.runs)
    left_out = f"; speed and memory of {packed} packed runs left out" if packed else ""
    return (
        f"Measured: {panel.metric}, {which}; bars: standard deviation over seeds, dots: the seeds; grey line: the "
        f"Pareto front; speed and memory: medians over seeds, comparable only on the same machine{left_out}. "
        f"From the ledger: {style.provenance(ids)}."
    )
