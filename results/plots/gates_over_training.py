"""APT's gates while they train: by layer and by prefix token at every evaluation, the layer-level scale beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from results.plots import style
from results.plots.gates import chosen
from results.plots.runs import Panel, Seen

Array = np.ndarray
TICKS = 6


def over_training(runs: Sequence[Seen]) -> tuple[list[int], Array, Array | None]:
    """Steps, token gates (steps, layers, tokens) and layer gates (steps, layers), means over runs.

    Steps are those that every run noted (runs may stop early); layer gates are None where some run has none. Runs are
    seeds of one grid point, so that their shapes are one.
    """
    noted = [run.gates_over_training() for run in runs]
    steps = sorted(set.intersection(*(set(found) for found in noted)))
    tokens = np.array([np.mean([found[step]["layers"] for found in noted], axis=0) for step in steps])
    if not all(found[step].get("layer_gate") for found in noted for step in steps):
        return steps, tokens, None
    return steps, tokens, np.array([np.mean([found[step]["layer_gate"] for found in noted], axis=0) for step in steps])


def draw(panel: Panel, out: Path, name: str) -> list[Path]:
    """One figure of a panel: three heat maps over steps."""
    runs = chosen(panel, Seen.gates_over_training)
    steps, tokens, layers = over_training(runs)
    maps: list[tuple[str, str, Array]] = [
        ("token gate by layer (mean over tokens)", "layer", tokens.mean(2).T),
        ("token gate by prefix token (mean over layers)", "prefix token", tokens.mean(1).T),
    ]
    if layers is not None:
        maps.append(("layer gate (scale)", "layer", layers.T))
    figure, axes = style.grid(len(maps), width=4.4 * len(maps), height=4.2)
    for axis, (title, label, values) in zip(axes, maps, strict=True):
        whole = title.startswith("token")
        top = 1.0 if whole else max(1.0, float(values.max()))
        image = _heat(axis, steps, values, (0.0 if whole else min(0.0, float(values.min())), top))
        axis.set(title=title, xlabel="step", ylabel=label)
        figure.colorbar(image, ax=axis, pad=0.02, aspect=30)
    ids = [run.id for run in runs]
    caption = (
        f"Gates at each evaluation, mean over {len(ids)} run(s) (seeds of one grid point) and the first examples of "
        f"the selection split. From the ledger: {style.provenance(ids)}."
    )
    style.finish(figure, panel.title, caption)
    return style.save(figure, out, name, caption)


def _heat(axis: Axes, steps: Sequence[int], values: Array, limits: tuple[float, float]) -> Any:
    """Rows from the top, one column per evaluation (steps need not be evenly spaced: the ticks say them)."""
    extent = (-0.5, len(steps) - 0.5, len(values) + 0.5, 0.5)
    image = axis.imshow(values, aspect="auto", cmap="cividis", vmin=limits[0], vmax=limits[1], extent=extent)
    axis.grid(visible=False)
    places = np.unique(np.linspace(0, len(steps) - 1, min(TICKS, len(steps))).round().astype(int))
    axis.set_xticks(places, [f"{steps[place]:,}" for place in places])
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    return image
