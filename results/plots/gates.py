"""APT's gates: a heat map of the token-level gate per layer and prefix token, the layer-level scale beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from results.plots import palette, style
from results.plots.runs import Panel, Seen

Array = np.ndarray


def mean_gates(runs: list[Seen]) -> tuple[Array, Array | None, list[str]]:
    """Mean over runs of the token gates (layers, tokens) and of the layer gates (layers,).

    Runs whose shape is not that of the first are left out.

    Returns:
        Token gates, layer gates (None where a run has none), and the ids of the runs that went in.
    """
    read = [(run.id, gates) for run in runs if (gates := run.gates())]
    shape = np.shape(read[0][1]["layers"])
    kept = [(identity, gates) for identity, gates in read if np.shape(gates["layers"]) == shape]
    tokens = np.mean([gates["layers"] for _, gates in kept], axis=0)
    layers = [gates["layer_gate"] for _, gates in kept if gates.get("layer_gate")]
    complete = len(layers) == len(kept) and all(np.shape(gate) == (shape[0],) for gate in layers)
    return tokens, np.mean(layers, axis=0) if complete else None, [identity for identity, _ in kept]


def chosen(panel: Panel, noted: Callable[[Seen], Any]) -> list[Seen]:
    """The runs with gates of the grid point chosen on validation, else of the first grid point that has some.

    Args:
        noted: What a run tells of its gates; nothing where it has none.
    """
    methods = sorted({run.method for run in panel.trained if noted(run)}, key=palette.order)
    best = [panel.best(method) for method in methods]
    points = [point for point in best if point] + [p for m in methods for p in panel.by_method()[m]]
    found = ([run for run in point.runs if noted(run)] for point in points)
    return next(runs for runs in found if runs)


def draw(panel: Panel, out: Path, name: str) -> list[Path]:
    """One figure of a panel: mean token gates of its chosen APT runs, one row per layer, the first on top."""
    tokens, layers, ids = mean_gates(chosen(panel, Seen.gates))
    height = max(3.2, min(8.0, 1.6 + 0.2 * tokens.shape[0]))
    figure, (heat, side) = style.grid(2, width=9.6, height=height, sharey=True, gridspec_kw={"width_ratios": [6, 1]})
    extent = (0.5, tokens.shape[1] + 0.5, tokens.shape[0] + 0.5, 0.5)
    image = heat.imshow(tokens, aspect="auto", cmap="cividis", vmin=0, vmax=1, extent=extent)
    heat.set(xlabel="prefix token", ylabel="layer")
    heat.grid(visible=False)
    heat.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    heat.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    figure.colorbar(image, ax=heat, label="mean gate (0 closed, 1 open)", pad=0.015, aspect=30)
    side.set_xlabel("layer gate (scale)")
    if layers is None:
        side.set_visible(False)
    else:
        side.barh(np.arange(1, len(layers) + 1), layers, color=palette.colour("apt"), height=0.7)
        side.set_xlim(0, max(1.0, float(layers.max())))
    caption = (
        f"Mean gate per layer and prefix token over {len(ids)} run(s) (seeds of the grid point chosen on validation), "
        f"averaged over examples when the run was evaluated. From the ledger: {style.provenance(ids)}."
    )
    style.finish(figure, panel.title, caption)
    return style.save(figure, out, name, caption)
