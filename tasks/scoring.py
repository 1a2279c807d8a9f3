"""Pure scores on plain arrays, free of heavy imports: bootstraps call them on subsets thousands of times."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """Share of equal entries; an invalid prediction (-1) never equals a reference."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    return float(np.mean(predictions == references)) if len(references) else 0.0
