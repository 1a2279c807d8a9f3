"""What a paper's authors released, as data: parameter sets and the scores and rows that they should give (no torch)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
FILE = "adapter_model.bin"
NEEDED = (b"prompt_embeddings", b"lora_embedding_A", b"lora_embedding_B")
ROUNDING = 0.005  # scores are kept to two decimals


@cache
def sets_of(paper: str) -> dict[str, dict[str, Any]]:
    """The released sets of a paper: name of the folder -> task, sizes, file, metric, scores, rows."""
    import yaml

    return dict(yaml.safe_load((FOLDER / f"{paper}.yaml").read_text(encoding="utf-8"))["sets"])


def missing(root: str | Path, name: str) -> str:
    """Why a set cannot be scored from a folder; empty where it can.

    A file of torch is a zip whose pickled index has the names of its tensors: nothing is unpickled to look.
    """
    file = Path(root).expanduser() / name / FILE
    if not file.is_file():
        return f"{name}: there is no {file}"
    try:
        with zipfile.ZipFile(file) as archive:
            index = next(entry for entry in archive.namelist() if entry.endswith("data.pkl"))
            held = archive.read(index)
    except (zipfile.BadZipFile, StopIteration):
        return ""  # an older form, or none: the loader says what is wrong with it
    lacking = [key.decode() for key in NEEDED if key not in held]
    return f"{name}: {file} is without {', '.join(lacking)}; its score cannot come of it" if lacking else ""


def compared(paper: str, name: str, record: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a finished run has the released score and rows, and the sentence that says it."""
    wanted = sets_of(paper)[name]
    data = record.get("data") or {}
    rows = data.get("used_rows") or data.get("rows") or {}
    off = [f"{split} {rows.get(split)} rows, released {count}" for split, count in wanted["rows"].items()
           if rows.get(split) != count]  # fmt: skip
    said = []
    for split in ("validation", "test"):
        got = 100.0 * record["metrics"].get(split, {}).get(wanted["metric"], float("nan"))
        same = abs(got - wanted[split]) <= ROUNDING + 1e-9
        said.append(f"{split} {wanted['metric']} {got:.2f}, released {wanted[split]:.2f}")
        if not same:
            examples = (got - wanted[split]) / 100.0 * wanted["rows"][split]
            off.append(f"{split} off by {got - wanted[split]:+.2f} points, {examples:+.1f} examples' worth")
    return not off, "; ".join([*said, *off])
