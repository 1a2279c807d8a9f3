"""Few-shot draws: k in total as the DePT family does, k per class for train and dev as LM-BFF does."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from tasks.errors import DataError
from tasks.splits import permutation

REGRESSION_BORDER = 2.5  # STS-B is drawn as two classes by both families


def draw_total(classes: Sequence[Hashable], k: int, seed: int, order: str | None = None) -> list[int]:
    """Positions of ``k`` training rows in total (ATTEMPT's and DePT's ``k_shot_example``).

    Rows come in the order of a permutation by the training seed (``order``: numpy's or torch's); each class takes
    ``k // classes`` of them. When only one slot is left, one more row of any class is let in. With 3 classes and k = 32
    that leaves 30 rows, as in the author code.
    """
    kinds = set(classes)
    share = k // len(kinds)
    counts = dict.fromkeys(kinds, 0)
    taken: list[int] = []
    for position in permutation(len(classes), seed, order):
        if len(taken) == k:
            break
        kind = classes[position]
        if counts[kind] < share or len(taken) == k - 1:
            counts[kind] += 1
            taken.append(position)
    return taken


def draw_per_class(classes: Sequence[Hashable], k: int, seed: int) -> tuple[list[int], list[int]]:
    """Positions of ``k`` rows per class for train and of the next ``k`` per class for dev (Gao et al. 2021).

    The order is NumPy's legacy shuffle after ``seed(seed)``, as in LM-BFF's generator script.

    Raises:
        DataError: a class has fewer than 2k rows.
    """
    import numpy as np

    order = np.arange(len(classes))
    np.random.RandomState(seed).shuffle(order)
    by_class: dict[Hashable, list[int]] = {}
    for position in order.tolist():
        by_class.setdefault(classes[position], []).append(position)
    short = {str(c): len(p) for c, p in by_class.items() if len(p) < 2 * k}
    if short:
        raise DataError(f"k_shot={k} per class for train and dev needs {2 * k} rows of each class; short: {short}")
    train = [p for positions in by_class.values() for p in positions[:k]]
    held = [p for positions in by_class.values() for p in positions[k : 2 * k]]
    return train, held
