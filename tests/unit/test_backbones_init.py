"""Where a prompt's first rows come from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backbones.init import COMMON, prompt_rows

WORDS = {"good": [10], "very bad": [11, 12], "Classify this": [3, 4]}


class Tokenizer:
    """Knows three texts."""

    eos_token_id: int | None = 2
    sep_token_id: int | None = None

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": WORDS.get(text, [])}


TABLE = nn.Embedding(COMMON + 100, 6)


def rows(how: str, length: int = 5, seed: int = 0, **more: object) -> Tensor:
    made = prompt_rows(TABLE, Tokenizer(), how, length, generator=torch.Generator().manual_seed(seed), **more)  # type: ignore[arg-type]
    assert made.shape == (length, 6) and made.dtype == torch.float32 and not made.requires_grad
    return made


def ids_of(made: Tensor) -> list[int]:
    """Which rows of the vocabulary these are."""
    hits = (made[:, None] == TABLE.weight[None]).all(-1)
    assert hits.any(1).all(), "not rows of the vocabulary"
    return hits.int().argmax(1).tolist()


def test_uniform_keeps_to_its_spread() -> None:
    made = rows("uniform", 400, spread=0.1)
    assert made.abs().max() <= 0.1 and made.abs().max() > 0.09


def test_sampled_rows_are_of_the_common_words_and_differ() -> None:
    ids = ids_of(rows("sampled_vocabulary", 300))
    assert len(set(ids)) == 300 and max(ids) < COMMON
    assert ids != ids_of(rows("sampled_vocabulary", 300, seed=1)) and ids == ids_of(rows("sampled_vocabulary", 300))


def test_labels_come_first_as_means_of_their_pieces() -> None:
    made = rows("class_labels", labels=["good", "very bad"])
    assert torch.equal(made[0], TABLE.weight[10]) and torch.allclose(made[1], TABLE.weight[[11, 12]].mean(0))
    assert len(set(ids_of(made[2:]))) == 3
    assert torch.equal(rows("class_labels", 1, labels=["good", "very bad"])[0], TABLE.weight[10])


def test_a_task_without_labels_has_sampled_rows() -> None:
    assert torch.equal(rows("class_labels", labels=()), rows("sampled_vocabulary"))


@pytest.mark.parametrize(("eos", "expected"), [(True, [3, 4, 2, 3, 4]), (False, [3, 4, 3, 4, 3])])
def test_a_text_is_cycled(eos: bool, expected: list[int]) -> None:
    assert ids_of(rows("text", text="Classify this", text_eos=eos)) == expected


def test_what_cannot_be_made_is_said() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        rows("text", text="unknown")
    with pytest.raises(ValueError, match="sampled_vocabulary"):
        rows("vocab")
