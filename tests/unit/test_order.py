"""Batches are a pure function of (seed, step)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.order import BatchOrder, micro_batches, share

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 20), st.integers(0, 5), st.booleans())
def test_an_epoch_has_every_example_once(lengths: list[int], size: int, seed: int, by_length: bool) -> None:
    order = BatchOrder(lengths, size, seed, by_length)
    for epoch in (0, 1):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        seen = [index for step in steps for index in order.batch(step)]
        assert sorted(seen) == list(range(len(lengths)))
        assert all(len(order.batch(step)) <= size for step in steps)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(), unique=True, max_size=40), st.integers(1, 9), st.integers(1, 7))
def test_any_number_of_processes_and_pieces_covers_the_batch(batch: list[int], world: int, micro: int) -> None:
    parts = [share(batch, rank, world) for rank in range(world)]
    assert sorted(index for part in parts for index in part) == sorted(batch)
    pieces = [piece for part in parts for piece in micro_batches(part, micro)]
    assert sorted(index for piece in pieces for index in piece) == sorted(batch)
    assert all(len(piece) <= micro for piece in pieces)


def test_any_step_can_be_asked_first() -> None:
    lengths = list(range(1, 38))
    straight = BatchOrder(lengths, 4, 7, True)
    expected = [straight.batch(step) for step in range(40)]
    assert [BatchOrder(lengths, 4, 7, True).batch(step) for step in (39, 17, 0)] == [expected[s] for s in (39, 17, 0)]


def test_seed_and_epoch_change_the_order() -> None:
    lengths = [1] * 32
    first = BatchOrder(lengths, 32, 1)
    assert first.batch(0) != first.batch(1)
    assert first.batch(0) != BatchOrder(lengths, 32, 2).batch(0)


def test_batches_by_length_pad_less() -> None:
    lengths = [(37 * i) % 101 + 1 for i in range(320)]

    def padding(order: BatchOrder) -> int:
        batches = [order.batch(step) for step in range(order.steps_per_epoch)]
        return sum(len(b) * max(lengths[i] for i in b) - sum(lengths[i] for i in b) for b in batches)

    assert padding(BatchOrder(lengths, 8, 0, True)) < 0.3 * padding(BatchOrder(lengths, 8, 0))


def test_an_empty_training_set_is_said() -> None:
    with pytest.raises(ValueError, match="training split is empty"):
        BatchOrder([], 4, 0)
