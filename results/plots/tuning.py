"""Tuning: the best validation score that so many trials are expected to give (Dodge et al. 2019, "Show Your Work")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.ticker import MaxNLocator

from results.plots import palette, style
from results.plots.runs import Panel
from results.selection import Trial, trials


def expected_best(scores: Sequence[float], count: int) -> float:
    """Expected largest of `count` scores drawn with replacement from those that were tried."""
    ordered, total = sorted(scores), len(scores)
    return sum(
        score * ((place / total) ** count - ((place - 1) / total) ** count) for place, score in enumerate(ordered, 1)
    )


def draw(panel: Panel, out: Path, name: str) -> list[Path]:
    """One figure of a panel: left the expected best validation score, right what the trial so chosen reports."""
    figure, (validation, reported) = style.grid(2, width=10.4, height=4.0, sharey=False)
    counts = {}
    for method in sorted(panel.by_method(), key=palette.order):
        found = [t for t in trials([run for run in panel.trained if run.method == method]) if t.selection is not None]
        if not found:
            continue
        counts[method] = len(found)
        places = list(range(1, len(found) + 1))
        look = {"color": palette.colour(method), "marker": palette.marker(method), "markersize": 4.5}
        best = [100 * expected_best([t.selection for t in found if t.selection is not None], k) for k in places]
        validation.plot(places, best, linewidth=2, label=palette.label(method), **look)  # type: ignore[arg-type]
        if all(t.reported is not None for t in found):  # else no mean of what such a trial reports
            given = [100 * _reported(found, k) for k in places]
            reported.plot(places, given, linewidth=2, **look)  # type: ignore[arg-type]
    for axes in (validation, reported):
        axes.set_xlabel("trials")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    validation.set_ylabel(f"expected best validation {style.metric_label(panel.metric)}")
    reported.set_ylabel(f"{panel.runs[0].primary_split} {style.metric_label(panel.metric)} of that trial")
    figure.legend(*validation.get_legend_handles_labels(), loc="outside right center", handlelength=2.2)
    caption = _caption(panel, counts)
    style.finish(figure, panel.title, caption)
    return style.save(figure, out, name, caption)


def _reported(found: Sequence[Trial], count: int) -> float:
    """Expected reported score of the trial with the best validation score among `count` drawn with replacement."""
    ordered = sorted(found, key=lambda trial: trial.selection or 0.0)
    total = len(ordered)
    mean = fmean(trial.reported or 0.0 for trial in ordered)
    weights = [(place / total) ** count - ((place - 1) / total) ** count for place in range(1, total + 1)]
    return sum(w * (mean if t.reported is None else t.reported) for w, t in zip(weights, ordered, strict=True))


def _caption(panel: Panel, counts: dict[str, int]) -> str:
    said = ", ".join(f"{palette.label(method)} {count}" for method, count in counts.items())
    return (
        f"Left: expected best mean validation {panel.metric} of so many trials drawn from those that were run (Dodge "
        "et al. 2019); right: what the trial so chosen reports, on average. A gap that grows between them is the "
        f"optimism of choosing. A curve that still rises would gain from more trials. Trials: {said}. "
        f"From the ledger: {style.provenance([run.id for run in panel.trained])}."
    )
