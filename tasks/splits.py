"""Split recipes: which official rows train, select and report under a protocol; pure functions over indices."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.errors import DataError

SMALLEST_CARVE = 12  # rows to select on, however small the training split (at most a third of it)


def permutation(n: int, seed: int) -> list[int]:
    """``torch.randperm(n)`` of a fresh CPU generator: the permutation of the DePT family's code (seed 42)."""
    import torch

    generator = torch.Generator()
    generator.manual_seed(seed)
    return torch.randperm(n, generator=generator).tolist()


@dataclass(frozen=True)
class Part:
    """Rows of one role: ``rows`` are indices into the official split ``split`` (``None`` = all, in order)."""

    split: str
    rows: list[int] | None = None

    def indices(self, total: int) -> list[int]:
        """The indices, given the length of the official split."""
        return list(range(total)) if self.rows is None else self.rows


def carved(sizes: dict[str, int], seed: int, carve: int, share: float) -> dict[str, Part]:
    """The project's default: select on rows that training never saw, report on the official evaluation rows.

    Where train, validation and test are all labelled, they are taken as published. Where only train and one other
    are, ``min(carve, share * train)`` rows of train (at least a dozen) (first of a fixed permutation) become validation and the
    other official split is reported.
    """
    if {"train", "validation", "test"} <= sizes.keys():
        return {name: Part(name) for name in ("train", "validation", "test")}
    held = next((name for name in ("test", "validation") if name in sizes), None)
    if held is None or "train" not in sizes:
        raise DataError(f"the split `carved` needs train and validation (or test) rows, found {sorted(sizes)}")
    n = sizes["train"]
    size = max(min(carve, int(share * n)), min(SMALLEST_CARVE, n // 3))
    order = permutation(n, seed)
    return {
        "train": Part("train", sorted(order[size:])),
        "validation": Part("train", sorted(order[:size])),
        "test": Part(held),
    }
