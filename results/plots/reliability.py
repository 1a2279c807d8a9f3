"""Reliability: accuracy against confidence, a panel per ensemble, the size of a dot its share of examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.ensembles import Ensemble
from results.plots import style

MOST = 6  # panels that can be read


def draw(found: Sequence[Ensemble], out: Path) -> None:
    """Write one PNG; nothing is drawn where no ensemble has label scores."""
    shown = list(found)[:MOST]
    with style.look():
        figure, axes = style.grid(max(len(shown), 1), width=3.4 * max(len(shown), 1) + 0.8, height=4.2, sharey=True)
        for place, one in zip(axes, shown, strict=False):
            total = sum(b.count for b in one.bins)
            place.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1)
            sizes = [20 + 400 * b.count / total for b in one.bins]
            place.scatter([b.confidence for b in one.bins], [b.accuracy for b in one.bins], s=sizes, alpha=0.75)
            place.set_title(one.name.replace(", ", "\n"), fontsize=9)  # with the id: two rates are two panels
            place.set_xlabel("confidence")
            place.set_xlim(0, 1.02)
            place.set_ylim(-0.02, 1.02)
            if one.error:
                place.text(0.03, 0.95, f"ECE {100 * one.error[1]:.1f} points", fontsize=9, va="top")
        axes[0].set_ylabel("share right")
        if not shown:
            axes[0].text(0.5, 0.5, "no label scores", ha="center", color=style.MUTED)
        caption = (
            "Mean of the runs' probabilities; the line is perfect calibration; dots grow with their share of examples."
        )
        if len(found) > len(shown):
            caption += f" The first {len(shown)} of {len(found)} configurations; filters choose others."
        style.finish(figure, "", caption)
        style.draw_to(figure, out, dpi=130)
        style.plt.close(figure)
