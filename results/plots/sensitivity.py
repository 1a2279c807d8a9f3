"""Sensitivity: score against learning rate and prompt length, and what tuning buys over the grid's median."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from results.plots import palette, style
from results.plots.runs import Panel, Seen

Dots = dict[float, list[float]]


def by_value(runs: list[Seen], value: Callable[[Seen], float | None]) -> Dots:
    """Reported scores in points, by the value of an option, in ascending order."""
    found: Dots = defaultdict(list)
    for run in runs:
        place, score = value(run), run.score()
        if place is not None and score is not None:
            found[place].append(100 * score)
    return dict(sorted(found.items()))


def draw(panel: Panel, out: Path, name: str) -> list[Path]:
    """One figure of a panel: score against learning rate, against prompt length, and median beside best."""
    figure, (rates, lengths, summary) = style.grid(
        3, width=11.4, height=4.2, sharey=True, gridspec_kw={"width_ratios": [1.5, 1.2, 1]}
    )
    methods = sorted(panel.by_method(), key=palette.order)
    for number, method in enumerate(methods):
        runs = [run for run in panel.trained if run.method == method]
        # dots of methods at the same value stand side by side, five per cent of the value apart
        nudge = 1.05 ** (number - (len(methods) - 1) / 2)
        _dots(rates, method, by_value(runs, Seen.learning_rate), nudge)
        _dots(lengths, method, by_value(runs, Seen.prompt_length), nudge)
    _tuning(summary, panel, methods)
    for (label, score), dash in zip(panel.baselines().items(), cycle(style.DASHES)):
        for axes in (rates, lengths, summary):
            text = label if axes is rates else None
            axes.axhline(100 * score, color=style.MUTED, linewidth=1.2, dashes=dash, label=text)
    rates.set(xlabel="learning rate", ylabel=f"{panel.runs[0].primary_split} {style.metric_label(panel.metric)}")
    lengths.set(xlabel="prompt length (tokens)")
    _log_ticks(rates, panel, Seen.learning_rate)
    _log_ticks(lengths, panel, Seen.prompt_length)
    figure.legend(*rates.get_legend_handles_labels(), loc="outside right center", handlelength=2.2)
    caption = _caption(panel)
    style.finish(figure, panel.title, caption)
    return style.save(figure, out, name, caption)


def _dots(axes: Axes, method: str, dots: Dots, nudge: float) -> None:
    if not dots:
        return
    colour, symbol = palette.colour(method), palette.marker(method)
    places = [place * nudge for place, scores in dots.items() for _ in scores]
    scores = [score for found in dots.values() for score in found]
    axes.scatter(places, scores, s=20, color=colour, alpha=0.5, marker=symbol, linewidths=0)
    middle = [median(found) for found in dots.values()]
    axes.plot(
        [place * nudge for place in dots],
        middle,
        color=colour,
        marker=symbol,
        markersize=5,
        linewidth=1.8,
        label=palette.label(method),
    )


def _tuning(axes: Axes, panel: Panel, methods: list[str]) -> None:
    """Per method a line from the grid's median (hollow) to the point chosen on validation (full)."""
    for place, method in enumerate(methods):
        means = [mean for point in panel.by_method()[method] if (mean := point.mean()) is not None]
        best = panel.best(method)
        chosen = best.mean() if best else None
        colour = palette.colour(method)
        if means and chosen is not None:
            low, high = 100 * median(means), 100 * chosen
            axes.plot([place, place], [low, high], color=colour, linewidth=2)
            axes.plot(place, low, "o", markersize=8, color=colour, markerfacecolor="white")
            axes.plot(place, high, "o", markersize=8, color=colour)
            seeds = [100 * score for score in best.scores()] if best else []
            axes.scatter([place + 0.18] * len(seeds), seeds, s=9, color=colour, alpha=0.55, linewidths=0)
    axes.set_xticks(range(len(methods)), [palette.label(method) for method in methods], rotation=35, ha="right")
    axes.set_xlim(-0.6, len(methods) - 0.4)
    axes.set_xlabel("○ median of the grid   ● chosen on validation (small: its seeds)", fontsize=9)
    axes.grid(visible=False, axis="x")


def _log_ticks(axes: Axes, panel: Panel, value: Callable[[Seen], float | None]) -> None:
    """A logarithmic axis with ticks at the values that were tried, as long as they can be told apart."""
    tried = sorted({place for run in panel.trained if (place := value(run)) is not None and place > 0})
    if not tried:
        axes.text(0.5, 0.5, "not set in these runs", transform=axes.transAxes, ha="center", color=style.MUTED)
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    ticks = [tried[0]]
    for place in tried[1:]:
        if place / ticks[-1] >= max(1.25, (tried[-1] / tried[0]) ** (1 / 9)):
            ticks.append(place)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=35 if len(ticks) > 4 else 0)
    axes.set_xlim(tried[0] / 1.35, tried[-1] * 1.35)


def _caption(panel: Panel) -> str:
    points = panel.by_method()
    trials = ", ".join(f"{palette.label(m)} {len(points[m])}" for m in sorted(points, key=palette.order))
    unequal = len({len(found) for found in points.values()}) > 1
    warning = " (unequal numbers of trials)" if unequal else ""
    return (
        f"Measured: {panel.metric} on the {panel.runs[0].primary_split} split; every dot is a run (a seed), lines join "
        "medians at a value over all else that varied; learning rate: of the prompt, or of the method's only group; "
        f"chosen: best mean validation score. Trials per method: {trials}{warning}. Dashed: no training. "
        f"From the ledger: {style.provenance([run.id for run in panel.trained])}."
    )
