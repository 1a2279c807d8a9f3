"""Learning curves: validation metric and training loss against step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from results.plots import palette, style
from results.plots.runs import GridPoint, Panel, Seen

Curve = list[tuple[int, float]]


def mean_curve(curves: Iterable[Curve]) -> Curve:
    """Mean over the curves at every step that all of them have (a mean over fewer seeds would jump)."""
    drawn = [curve for curve in curves if curve]
    values: dict[int, list[float]] = defaultdict(list)
    for curve in drawn:
        for step, value in curve:
            values[step].append(value)
    return sorted((step, fmean(found)) for step, found in values.items() if len(found) == len(drawn))


def draw(panel: Panel, out: Path, name: str, *, every_point: bool = False) -> list[Path]:
    """One figure of a panel: left the validation metric, right the training loss.

    Args:
        panel: the runs of one task, backbone and protocol.
        out: folder of the PNG and the PDF.
        name: file name without ending.
        every_point: all grid points of a method, not only the one selected on validation.
    """
    figure, (scores, losses) = style.grid(2, width=10.4, height=4.0)
    drawn: list[Seen] = []
    for method in sorted(panel.by_method(), key=palette.order):
        best = panel.best(method)
        points = panel.by_method()[method] if every_point or best is None else [best]
        for number, point in enumerate(points):
            _draw_point(scores, losses, point, labelled=number == 0)
            drawn += point.runs
    _baselines(scores, panel)
    scores.set(xlabel="step", ylabel=f"validation {style.metric_label(panel.metric)}")
    losses.set(xlabel="step", ylabel="training loss (nats per target token)")
    for axes in (scores, losses):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.margins(x=0.02)
        axes.set_xlim(left=0)
    figure.legend(*scores.get_legend_handles_labels(), loc="outside right center", handlelength=2.6)
    caption = _caption(panel, drawn, every_point)
    style.finish(figure, panel.title, caption)
    return style.save(figure, out, name, caption)


def _draw_point(scores: Axes, losses: Axes, point: GridPoint, *, labelled: bool) -> None:
    colour, text = palette.colour(point.method), palette.label(point.method)
    validation = [[(step, 100 * value) for step, value in run.curve()] for run in point.runs]
    training = [smooth(run.losses()) for run in point.runs]
    for axes, curves in ((scores, validation), (losses, training)):
        for curve in curves:
            if curve and len(curves) > 1:
                axes.plot(*zip(*curve, strict=True), color=colour, linewidth=0.8, alpha=0.4)
        mean = mean_curve(curves)
        if mean:
            shown = sum(bool(curve) for curve in curves)
            seeds = f", {shown} seeds" if shown > 1 else ", 1 seed"
            name = text + seeds if labelled else None
            dots = (
                {"marker": palette.marker(point.method), "markersize": 4.5} if axes is scores and len(mean) < 25 else {}
            )
            axes.plot(*zip(*mean, strict=True), color=colour, linewidth=2.2, label=name, **dots)  # type: ignore[arg-type]


def smooth(curve: Curve, weight: float = 0.7) -> Curve:
    """Exponential mean with bias correction (a logged loss is that of one batch, hence noisy)."""
    total, scale, smoothed = 0.0, 0.0, []
    for step, value in curve:
        total = weight * total + (1 - weight) * value
        scale = weight * scale + (1 - weight)
        smoothed.append((step, total / scale))
    return smoothed


def _baselines(axes: Axes, panel: Panel) -> None:
    """Dashed lines: what is to be had without training."""
    for (name, value), dash in zip(panel.rules("validation").items(), cycle(style.DASHES)):
        axes.axhline(100 * value, color=style.MUTED, linewidth=1.2, dashes=dash, label=name)


def _caption(panel: Panel, drawn: list[Seen], every_point: bool) -> str:
    data = panel.runs[0].record.get("data") or {}
    rows = data.get("used_rows") or data.get("rows")
    count = rows.get("validation") if isinstance(rows, dict) else None
    on = f"{count} validation rows" if count else "the validation rows"
    which = "every grid point" if every_point else "each method at its grid point with the best mean validation score"
    which += "" if every_point else panel.unchosen
    return (
        f"Measured: {panel.metric} on {on} of {panel.task} (source {data.get('source', 'unknown')}); {which}; thin: a "
        "seed, thick: the mean over seeds; loss: exponential mean (0.7) of single batches; dashed: no training. "
        f"From the ledger: {style.provenance([run.id for run in drawn])}."
    )
