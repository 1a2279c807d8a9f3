"""The house look of the printed figures: fonts, axes, titles and captions."""

from __future__ import annotations

import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.files import replacing

INK = "#22262b"
MUTED = "#687078"
GRID = "#e4e7ea"
DASHES = ((5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (10, 3), (3, 3))
RC = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelcolor": INK, "text.color": INK,
    "axes.edgecolor": MUTED, "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True, "xtick.color": MUTED,
    "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "legend.frameon": False,
    "legend.fontsize": 9, "figure.dpi": 100, "savefig.dpi": 200, "pdf.fonttype": 42,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}  # fmt: skip


def metric_label(metric: str) -> str:
    """``accuracy`` -> ``accuracy (%)``: axes show points, records hold fractions."""
    return f"{metric.replace('_', ' ')} (%)"


def look() -> AbstractContextManager[None]:
    """Within it, figures have the house look; the caller's matplotlib settings come back afterwards."""
    return matplotlib.rc_context(RC)  # type: ignore[arg-type]


def grid(columns: int, *, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A row of axes in the house look."""
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False, layout="constrained", **options)
    return figure, list(axes[0])


def finish(figure: Figure, title: str, caption: str) -> None:
    """Title above, caption (where the numbers come from) below."""
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    wrapped = textwrap.fill(caption, width=int(figure.get_figwidth() * 15.5))
    figure.supxlabel(wrapped, x=0.012, ha="left", fontsize=7.5, color=MUTED)


def save(figure: Figure, out: Path, name: str, caption: str) -> list[Path]:
    """Write PNG and PDF (caption and run ids in their metadata) and close the figure."""
    paths = [out / f"{name}.png", out / f"{name}.pdf"]
    draw_to(figure, paths[0], metadata={"Title": name, "Description": caption})
    draw_to(figure, paths[1], metadata={"Title": name, "Subject": caption, "CreationDate": None})
    plt.close(figure)
    return paths


def draw_to(figure: Figure, path: Path, **options: Any) -> None:
    """Draw a figure into a file of the form that its name says; half a picture never has the name."""
    form = path.suffix.removeprefix(".").lower() or "png"
    if form not in figure.canvas.get_supported_filetypes():
        forms = ", ".join(sorted(figure.canvas.get_supported_filetypes()))
        raise OSError(f"{path}: figures are not drawn as .{form}; wanted is one of {forms}")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=form, **options)


def provenance(run_ids: list[str], shown: int = 8) -> str:
    """``runs 1a2b…, …``: short ids of the runs behind a figure."""
    short = ", ".join(identity[:8] for identity in run_ids[:shown])
    rest = f" and {len(run_ids) - shown} more" if len(run_ids) > shown else ""
    return f"runs {short}{rest}"
