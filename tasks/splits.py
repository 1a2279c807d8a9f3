"""Split recipes: which official rows train, select and report under a protocol; pure functions over indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.config import ProtocolConfig, TaskConfig
from tasks.errors import DataError

SMALLEST_CARVE = 12  # rows to select on, however small the training split (at most a third of it)
WHOLE = "whole"
Sizes = dict[str, int]


def permutation(n: int, seed: int, order: str | None = None) -> list[int]:
    """``torch.randperm(n)`` of a fresh CPU generator: the permutation of the DePT family's code (seed 42).

    ``order="numpy"`` is ``default_rng(seed).permutation(n)``, the shuffle of the library datasets.
    """
    if order == "numpy":
        import numpy as np

        return np.random.default_rng(seed).permutation(n).tolist()
    import torch

    generator = torch.Generator()
    generator.manual_seed(seed)
    return torch.randperm(n, generator=generator).tolist()


@dataclass(frozen=True)
class Part:
    """Rows of one role: ``rows`` are indices into the official split ``split`` (``None`` = all, in order)."""

    split: str
    rows: Sequence[int] | None = None

    def indices(self, total: int) -> list[int]:
        """The indices, given the length of the official split."""
        return list(range(total)) if self.rows is None else list(self.rows)


Parts = dict[str, Part]


def parts_of(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> Parts:
    """Role (train, validation, test) -> rows, by the protocol's recipe.

    A task that has no training rows anywhere (out-of-domain evaluation) gets one role only, the reported one.

    Raises:
        DataError: an official split that the recipe needs is missing.
    """
    if protocol.split not in RECIPES:
        raise DataError(f"protocol.split={protocol.split!r}: one of {', '.join(RECIPES)}")
    if "train" not in sizes and "train" not in task.rows:
        held = _held(task, sizes)
        return {"test" if protocol.split != "dev" else "validation": Part(held)}
    return RECIPES[protocol.split](task, protocol, sizes)


def _need(sizes: Sizes, task: TaskConfig, *splits: str) -> None:
    missing = [s for s in splits if s not in sizes]
    if missing:
        raise DataError(f"{task.name}: no rows of the split {missing[0]!r}, found {sizes}")


def _held(task: TaskConfig, sizes: Sizes) -> str:
    """The official split that a protocol without own test rows reports on."""
    for name in (task.test_split, "test", task.dev_split):
        if name and name in sizes:
            return name
    raise DataError(f"{task.name}: neither validation nor labelled test rows, found {sizes}")


def _carve(protocol: ProtocolConfig, n: int) -> int:
    return max(_share(protocol, n), min(SMALLEST_CARVE, n // 3))


def _large_carve(protocol: ProtocolConfig, n: int) -> int:
    return max(1, _share(protocol, n))


def _share(protocol: ProtocolConfig, n: int) -> int:
    return min(protocol.carve, int(protocol.carve_share * n))


def trained_rows(task: TaskConfig, protocol: ProtocolConfig) -> int | None:
    """How many of the published rows train under a protocol, drawing none; None where no row count is published."""
    n = task.rows.get("train")
    if not n or protocol.split == WHOLE:
        return None
    if protocol.k_shot:
        return protocol.k_shot * (1 if protocol.few_shot == "total" else len(task.labels) or 2)
    if protocol.epoch_rows:
        return protocol.epoch_rows
    if protocol.split == "dept" and task.split_rule == "large":
        return min(n - _large_carve(protocol, n), task.cap or n)
    if protocol.split == "carved" and not {"validation", "test"} <= task.rows.keys():
        return n - _carve(protocol, n)
    return n


def carved(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> Parts:
    """The project's default: select on rows that training never saw, report on the official evaluation rows.

    Where train, validation and test are all labelled, they are taken as published. Where only train and one other
    are, some rows of train (first of a fixed permutation: 1,000, or a tenth of a small set) become validation and
    the other official split is reported.
    """
    if {"train", "validation", "test"} <= sizes.keys():
        return {name: Part(name) for name in ("train", "validation", "test")}
    _need(sizes, task, "train")
    size = _carve(protocol, sizes["train"])
    order = permutation(sizes["train"], protocol.split_seed)
    return {
        "train": Part("train", sorted(order[size:])),
        "validation": Part("train", sorted(order[:size])),
        "test": Part(_held(task, sizes)),
    }


def dept(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> Parts:
    """The DePT family (ATTEMPT's code): ``small`` halves the dev set, ``large`` carves 1,000 training rows.

    Permutation order is kept, so that the cap (Yelp-2: the first 100,000 after the carve) takes the same rows.
    """
    _need(sizes, task, "train")
    if task.split_rule == "small":
        _need(sizes, task, task.dev_split)
        order = permutation(sizes[task.dev_split], protocol.split_seed, protocol.split_order)
        half = len(order) // 2
        return {
            "train": Part("train"),
            "validation": Part(task.dev_split, order[:half]),
            "test": Part(task.dev_split, order[half:]),
        }
    if task.split_rule == "large":
        _need(sizes, task, task.dev_split)
        order = permutation(sizes["train"], protocol.split_seed, protocol.split_order)
        size = _large_carve(protocol, len(order))
        rest = order[size:]
        return {
            "train": Part("train", rest[: task.cap] if task.cap else rest),
            "validation": Part("train", order[:size]),
            "test": Part(task.dev_split),
        }
    if task.test_split or "test" in sizes:
        return official(task, protocol, sizes)
    raise DataError(f"{task.name}: split_rule=official needs labelled test rows, found {sizes}")


def official(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> Parts:
    """Published splits as they are; selection and report share the dev set where no labelled test exists."""
    _need(sizes, task, "train")
    parts = {"train": Part("train")}
    dev = "validation" if "validation" in sizes else task.dev_split
    if dev in sizes:
        parts["validation"] = Part(dev)
    test = task.test_split or "test"
    if test in sizes and test != dev:
        parts["test"] = Part(test)
    if len(parts) == 1:
        raise DataError(f"{task.name}: neither validation nor labelled test rows, found {sizes}")
    return parts


def dev(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> Parts:
    """Lester et al. 2021: the best checkpoint on the official dev set, reported there."""
    _need(sizes, task, "train")
    held = task.test_split or task.dev_split
    return {"train": Part("train"), "validation": Part(held if held in sizes else _held(task, sizes))}


def whole(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> Parts:
    """Every labelled row of every official split is reported (they were joined before): nothing trains or selects."""
    return {"test": Part("test")}


def lmbff(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> Parts:
    """Gao et al. 2021: few-shot train and dev out of the official train split; the official dev is the test.

    Raises:
        DataError: nothing is drawn per class, so that the training rows themselves would select.
    """
    _need(sizes, task, "train")
    if not protocol.k_shot or protocol.few_shot != "per_class":
        raise DataError(
            f"protocol.split=lmbff with k_shot={protocol.k_shot} few_shot={protocol.few_shot}: it draws rows for "
            "training and as many others for selection, so give protocol.k_shot=16 protocol.few_shot=per_class"
        )
    return {"train": Part("train"), "validation": Part("train"), "test": Part(_held(task, sizes))}


def too_small(task: TaskConfig, protocol: ProtocolConfig, sizes: Sizes) -> str:
    """Why the training split cannot bear the DePT family's carve of 1,000 rows; empty where it can."""
    if protocol.split != "dept" or task.split_rule != "large" or "train" not in sizes:
        return ""
    if protocol.carve_share * sizes["train"] >= protocol.carve:
        return ""
    return (
        f"not the published split: {sizes['train']} train rows are too few to carve {protocol.carve}, "
        f"{protocol.carve_share:.0%} of them carved"
    )


RECIPES: dict[str, Callable[[TaskConfig, ProtocolConfig, Sizes], Parts]] = {
    "carved": carved,
    "dept": dept,
    "official": official,
    "dev": dev,
    "lmbff": lmbff,
    WHOLE: whole,
}
PROPORTIONS = {"validation": 0.1, "test": 0.1}


def replace_missing(task: TaskConfig, sizes: Sizes, seed: int) -> tuple[dict[str, Part], list[str]]:
    """Local data only: published splits that are not there are carved in proportion from the largest that is.

    Returns:
        official split -> rows of a split that exists, and one verdict per carve.
    """
    published = list(task.rows)  # the labelled splits
    missing = [s for s in published if s not in sizes]
    parts = {s: Part(s) for s in sizes}
    if not missing or "train" not in published:
        return parts, []
    donor = max(sizes, key=lambda s: sizes[s])
    order = permutation(sizes[donor], seed)
    shares = {s: PROPORTIONS["test"] if s != "train" else 0.8 for s in missing}
    verdicts, at = [], 0
    for split, share in shares.items():
        size = max(1, int(share * len(order)))
        parts[split] = Part(donor, sorted(order[at : at + size]))
        at += size
        verdicts.append(f"not the published split: no {split} rows in the folder, {size} rows of {donor} taken for it")
    parts[donor] = Part(donor, sorted(order[at:]))
    return parts, verdicts
