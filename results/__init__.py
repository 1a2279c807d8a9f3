"""The ledger of runs and everything that is read out of it; neither torch nor transformers is imported here.

In a notebook: `results.frame()`, `results.compare("pt", "dept")`, `results.predictions(run)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.frames import frame
    from results.notebook import compare, predictions

__all__ = ["compare", "frame", "predictions"]
HOMES = {"frame": "results.frames", "compare": "results.notebook", "predictions": "results.notebook"}


def __getattr__(name: str) -> Any:
    """Import pandas and the tables only when a notebook asks for them."""
    if name not in HOMES:
        raise AttributeError(f"module 'results' has no attribute {name!r}; there are {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(HOMES[name]), name)
