"""The ledger of runs and everything that is read out of it; neither torch nor transformers is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas


def frame(root: str | Path | None = None) -> pandas.DataFrame:
    """The runs of a ledger as a pandas frame, one row per run (see `results.frames.frame`)."""
    from results.frames import frame as build

    return build(root)
