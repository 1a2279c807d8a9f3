"""Two figures: the smallest differences beside those that tables report, and the cells of quoted claims by verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.audit import claims as quoted
from results.audit.cells import cells_of, design_of
from results.audit.descriptive import PrintedColumn, columns_of
from results.audit.pairs import MEANINGS
from results.plots import style
from results.reference import load
from tasks.metrics import of_nature

NAMES = ("audit-differences", "audit-verdicts")
GRIDS = (("dept", "T1 GLUE+SuperGLUE"), ("dept", "T2 MRQA+Others"), ("accept", "A1 GLUE+SuperGLUE"))
COLOURS = {"dept": "#d55e00", "accept": "#cc79a7"}
VERDICTS = {"R": "#0072b2", "R, other direction": "#8c4a1f", "U": "#b3bcc4", "N": "#e69f00"}
FLOOR = 0.01  # points; where a difference of 0.0 is drawn on a logarithmic axis


def draw(out: Path, papers: Sequence[str]) -> list[Path]:
    """Write the figures as PNG into a folder."""
    with style.look():
        made = [_differences(), _verdicts(papers)]
        paths = [out / f"{name}.png" for name in NAMES]
        for figure, path in zip(made, paths, strict=True):
            style.draw_to(figure, path, dpi=110, metadata={"Software": None, "Title": path.stem})
            style.plt.close(figure)
    return paths


def _differences() -> Figure:
    grids = {place: _columns(*place) for place in GRIDS}
    rows = list({c.task: c for columns in grids.values() for c in columns}.values())
    rows.sort(key=lambda c: c.n)
    at = {c.task: len(rows) - 1 - i for i, c in enumerate(rows)}
    figure, [axes] = style.grid(1, width=10, height=7.6)
    for place, columns in grids.items():
        shift = 0.13 if place[0] == "dept" else -0.13
        xs = [max(abs(d), FLOOR) for c in columns for d in c.differences]
        ys = [at[c.task] + shift for c in columns for _ in c.differences]
        label = None if place[1].startswith("T2") else f"reported: {_name(place[0])} less another row"
        axes.scatter(xs, ys, s=15, color=COLOURS[place[0]], alpha=0.55, linewidths=0, label=label, zorder=2)
    for c in rows:
        y = at[c.task]
        if c.paired is not None:
            _tick(axes, 100 * c.paired, y, "#0072b2")
        _tick(axes, 100 * c.unpaired, y, style.INK)
    axes.plot([], [], color="#0072b2", linewidth=2.4, label="smallest shown, paired at best (6 examples)")
    axes.plot([], [], color=style.INK, linewidth=2.4, label="smallest shown, unpaired (1.96 SE)")
    axes.set_xscale("log")
    axes.set_xlim(FLOOR * 0.8, 80)
    axes.set_xticks([FLOOR, 0.03, 0.1, 0.3, 1, 3, 10, 30], ["0", "0.03", "0.1", "0.3", "1", "3", "10", "30"])
    axes.minorticks_off()
    axes.set_yticks([at[c.task] for c in rows], [f"{c.task}, {c.metric}, n = {c.n:,}" for c in rows])
    axes.set_xlabel("difference in points (logarithmic)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    style.finish(figure, "", _caption_differences())
    return figure


def _caption_differences() -> str:
    return (
        "Two single runs on the test set of the DePT family's protocol. Paired at best: six examples, all in one "
        "direction, which is the least that an exact McNemar test finds at 5% (accuracy alone). Unpaired: 1.96 "
        "standard errors of the difference at the column's median; for F1 the upper end of its range. Training noise "
        "is left out. Dots: published values as transcribed, sizes of differences in either direction."
    )


def _tick(axes: Axes, x: float, y: float, colour: str) -> None:
    axes.plot([x, x], [y - 0.36, y + 0.36], color=colour, linewidth=2.4, solid_capstyle="butt", zorder=3)


def _columns(paper: str, table: str) -> list[PrintedColumn]:
    cells = [cell for cell in cells_of(paper) if cell.table == table]
    # correlations are left out: their differences are read on Fisher's scale
    own = (design_of(paper, table) or {}).get("method")
    return [c for c in columns_of(cells, own) if c.metric not in of_nature("correlation")]


def _verdicts(papers: Sequence[str]) -> Figure:
    rows = [(claim, counts) for claim in quoted.read()[0] if claim.paper in papers and (counts := _counts(claim))]
    figure, [axes] = style.grid(1, width=9, height=2.0 + 0.62 * max(len(rows), 1))
    for row, (_, counts) in enumerate(rows):
        left = 0
        for name, colour in VERDICTS.items():
            if counts[name]:
                axes.barh(-row, counts[name], left=left, color=colour, height=0.6, edgecolor="white")
                ink = "white" if name.startswith("R") else style.INK
                place = (left + counts[name] / 2, -row)
                axes.text(*place, f"{counts[name]}", ha="center", va="center", fontsize=9, color=ink)
            left += counts[name]
    for name, colour in VERDICTS.items():
        said = MEANINGS.get(name, "the same, against the claimed direction")
        axes.barh([0], [0], color=colour, label=f"{name[0]}: {said}")
    named = [f"{claim.method} less {claim.comparator}\n({_name(claim.paper)}'s sentence)" for claim, _ in rows]
    axes.set_yticks([-row for row in range(len(rows))], named)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("cells of the claim (tasks and metrics)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=1)
    caption = (
        "Before Holm's correction; N holds if the numbers are single runs. That two numbers cannot be told apart is no "
        "evidence that they are equal."
    )
    style.finish(figure, "", caption)
    return figure


def _counts(claim: quoted.Claim) -> Counter[str]:
    """Cells of a claim, read task by task, by verdict and direction."""
    counts: Counter[str] = Counter()
    for found in quoted.assess(claim):
        for pair in found.judged if found.reading == "tasks" else ():
            letter = pair.verdict.letter if pair.verdict else ""
            counts["R, other direction" if letter == "R" and pair.d.value < 0 else letter] += 1
    return counts


def _name(paper: str) -> str:
    reference = load(paper)
    return reference.paper if reference else paper
