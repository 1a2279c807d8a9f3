"""Split recipes against the row counts that the papers' code gives, and few-shot draws against its rules."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import DataError
from tasks.fewshot import draw_per_class, draw_total
from tasks.splits import parts_of, permutation, replace_missing, too_small
from tests.tasks_rig import protocol_of, task_of

# train, validation, test rows of the DePT family's runs, from the official sizes (NQ and so on: the Hub's copies)
DEPT = {
    "glue/mnli": (392_702, 9_832, 9_815),
    "glue/qqp": (362_846, 1_000, 40_430),
    "glue/qnli": (103_743, 1_000, 5_463),
    "glue/sst2": (66_349, 1_000, 872),
    "glue/stsb": (5_749, 750, 750),
    "glue/mrpc": (3_668, 204, 204),
    "glue/rte": (2_490, 138, 139),
    "glue/cola": (8_551, 521, 522),
    "superglue/multirc": (27_243, 2_424, 2_424),
    "superglue/boolq": (9_427, 1_635, 1_635),
    "superglue/wic": (5_428, 319, 319),
    "superglue/wsc_fixed": (554, 52, 52),
    "superglue/cb": (250, 28, 28),
    "mrqa/nq": (103_071, 1_000, 12_836),
    "mrqa/hotpotqa": (71_928, 1_000, 5_901),
    "mrqa/searchqa": (116_384, 1_000, 16_980),
    "mrqa/newsqa": (73_160, 1_000, 4_212),
    "other/winogrande": (39_398, 1_000, 1_267),
    "other/yelp2": (100_000, 1_000, 38_000),
    "other/scitail": (23_596, 652, 652),
    "other/paws": (49_401, 8_000, 8_000),
}


def counts(parts: dict, sizes: dict) -> dict[str, int]:
    return {role: len(part.indices(sizes[part.split])) for role, part in parts.items()}


@pytest.mark.parametrize("name", DEPT)
def test_dept_splits_have_the_published_sizes(name: str) -> None:
    task = task_of(name)
    parts = parts_of(task, protocol_of("dept"), task.rows)
    assert counts(parts, task.rows) == dict(zip(("train", "validation", "test"), DEPT[name], strict=True))
    assert too_small(task, protocol_of("dept"), task.rows) == ""


def test_permutation_is_torchs_with_seed_42() -> None:
    expected = torch.randperm(277, generator=torch.Generator().manual_seed(42)).tolist()
    assert permutation(277, 42) == expected
    parts = parts_of(task_of("glue/rte"), protocol_of("dept"), {"train": 2490, "validation": 277})
    assert (parts["validation"].rows, parts["test"].rows) == (expected[:138], expected[138:])


def test_yelp_is_capped_after_the_carve() -> None:
    parts = parts_of(task_of("other/yelp2"), protocol_of("dept"), {"train": 560_000, "test": 38_000})
    order = permutation(560_000, 42)
    assert parts["validation"].rows == order[:1000] and parts["train"].rows == order[1000:101_000]


def test_mnli_selects_on_mismatched_and_reports_matched() -> None:
    parts = parts_of(task_of("glue/mnli"), protocol_of("dept"), task_of("glue/mnli").rows)
    assert (parts["validation"].split, parts["test"].split) == ("validation_mismatched", "validation_matched")
    carved = parts_of(task_of("glue/mnli"), protocol_of("carved"), task_of("glue/mnli").rows)
    assert (carved["validation"].split, carved["test"].split) == ("train", "validation_matched")
    assert parts_of(task_of("glue/mnli"), protocol_of("lester"), task_of("glue/mnli").rows).keys() == {
        "train",
        "validation",
    }


@given(n=st.integers(3, 5000), held=st.integers(1, 400))
def test_carved_never_shares_a_row(n: int, held: int) -> None:
    sizes = {"train": n, "validation": held}
    parts = parts_of(task_of("superglue/boolq"), protocol_of("carved"), sizes)
    train, validation = set(parts["train"].indices(n)), set(parts["validation"].indices(n))
    assert not train & validation and train | validation == set(range(n)) and train and validation
    assert parts["test"].split == "validation" and len(parts["test"].indices(held)) == held


def test_labelled_test_rows_are_reported_as_published() -> None:
    for protocol in ("carved", "official", "ptuning_v2"):
        sizes = task_of("ner/wnut17").rows
        parts = parts_of(task_of("ner/wnut17"), protocol_of(protocol), sizes)
        assert counts(parts, sizes) == {"train": 3394, "validation": 1009, "test": 1287}


def test_tasks_without_training_rows_have_the_reported_split_alone() -> None:
    task = task_of("mrqa/bioasq")
    assert set(parts_of(task, protocol_of("lester"), {"validation": 1504})) == {"validation"}
    assert set(parts_of(task, protocol_of("dept"), {"validation": 1504})) == {"test"}


def test_missing_splits_are_carved_in_proportion_and_said() -> None:
    parts, verdicts = replace_missing(task_of("other/winogrande"), {"validation": 1267}, seed=42)
    train, held = set(parts["train"].indices(1267)), set(parts["validation"].indices(1267))
    assert not train & held and len(train | held) == 1267 and len(train) == 1013
    assert len(verdicts) == 1 and "not the published split" in verdicts[0]
    assert replace_missing(task_of("superglue/boolq"), {"train": 10, "validation": 5}, seed=42)[1] == []


def test_missing_train_rows_are_refused_elsewhere() -> None:
    with pytest.raises(DataError, match="no rows of the split 'train'"):
        parts_of(task_of("superglue/boolq"), protocol_of("dept"), {"validation": 3270})
    assert "too few to carve 1000" in too_small(task_of("glue/qnli"), protocol_of("dept"), {"train": 9999})


@given(st.lists(st.sampled_from("ab"), min_size=40, max_size=80), st.sampled_from([4, 16]), st.integers(0, 99))
def test_few_shot_total_follows_the_fill_rule(classes: list[str], k: int, seed: int) -> None:
    taken = draw_total(classes, k, seed)
    assert len(set(taken)) == len(taken) <= k
    share, found, total = k // len(set(classes)), Counter(classes[p] for p in taken), Counter(classes)
    # a class never goes more than one row over its share, and only where one slot was left
    assert all(found[c] <= share + 1 for c in found)
    assert len(taken) >= min(k - 1, sum(min(share, total[c]) for c in total))
    assert taken == [p for p in permutation(len(classes), seed) if p in set(taken)]


def test_few_shot_total_with_three_classes() -> None:
    classes = [i % 3 for i in range(300)]
    assert len(draw_total(classes, 16, 42)) == 16  # 5 of each and one more
    assert len(draw_total(classes, 32, 42)) == 30  # 10 of each: two slots stay empty, as in the author code


@pytest.mark.parametrize("seed", [13, 21, 42, 87, 100])
def test_lmbff_draws_as_its_script(seed: int) -> None:
    labels = ["x" if i % 3 else "y" for i in range(120)]
    lines = list(enumerate(labels))
    np.random.seed(seed)
    np.random.shuffle(lines)
    by_label: dict[str, list[int]] = {}
    for position, label in lines:
        by_label.setdefault(label, []).append(position)
    train, held = draw_per_class(labels, 16, seed)
    assert train == [p for rows in by_label.values() for p in rows[:16]]
    assert held == [p for rows in by_label.values() for p in rows[16:32]]
    with pytest.raises(DataError, match="needs 100 rows of each class"):
        draw_per_class(labels, 50, seed)


@pytest.mark.parametrize("changes", [{"k_shot": None}, {"few_shot": "total"}])
def test_lmbff_without_draws_per_class_would_select_on_its_training_rows(changes: dict[str, object]) -> None:
    protocol, sizes = protocol_of("lmbff", **changes), {"train": 100, "validation": 20}
    with pytest.raises(DataError, match=r"give protocol\.k_shot=16 protocol\.few_shot=per_class"):
        parts_of(task_of("superglue/boolq"), protocol, sizes)
