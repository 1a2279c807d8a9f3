"""Starting rows of a soft prompt from the frozen vocabulary: random, sampled, labels, text.

Methods get them as tensors, so they need no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

HOW = ("uniform", "normal", "sampled_vocabulary", "vocabulary", "class_labels", "text")
COMMON = 5000  # Lester et al. 2021: rows of the 5,000 most common pieces (SentencePiece ids are ordered by frequency)


def prompt_rows(
    embedding: nn.Module,
    tokenizer: Any,
    how: str,
    length: int,
    *,
    text: str = "",
    labels: Sequence[str] = (),
    generator: torch.Generator | None = None,
    spread: float = 0.5,
    text_eos: bool = True,
) -> Tensor:
    """Rows to start a prompt from.

    Args:
        embedding: a backbone (what its input embedding gives is taken) or the embedding table itself.
        tokenizer: the backbone's tokenizer.
        how: ``uniform`` U(-spread, spread); ``normal`` N(0, 1); ``sampled_vocabulary`` rows of the first 5,000 ids
            without replacement; ``vocabulary`` rows of all ids with replacement (Residual Prompt Tuning's code);
            ``class_labels`` the mean of each label's pieces, then sampled rows (a task without
            labels has sampled rows alone); ``text`` its tokens, cycled (DePT: with EOS where the tokenizer has one).
        length: m.
        text: for ``text``.
        labels: for ``class_labels``; encoded without special tokens.
        generator: a CPU generator.
        spread: for ``uniform`` (Lester et al.: 0.5).
        text_eos: end the text with EOS if the tokenizer has one (the DePT code does).

    Returns:
        (m, d) float32 on the CPU.

    Raises:
        ValueError: an unknown ``how``, or a text that is missing.
    """
    found = getattr(embedding, "table", None)
    table: Tensor = (embedding.weight if found is None else found).detach()  # type: ignore[assignment, operator, union-attr]
    if how not in HOW:
        raise ValueError(f"method.init={how!r} is not one of {', '.join(HOW)}.")
    if how == "uniform":
        return (torch.rand(length, table.shape[1], generator=generator) * 2 - 1) * spread
    if how == "normal":
        return torch.randn(length, table.shape[1], generator=generator)
    if how == "sampled_vocabulary":
        rows = table[_sample(table, length, generator)]
    elif how == "vocabulary":
        rows = table[torch.randint(table.shape[0], (length,), generator=generator)]
    elif how == "class_labels":
        rows = _label_rows(table, tokenizer, labels, length, generator)
    else:
        rows = table[_cycled(_text_ids(tokenizer, text, text_eos), length)]
    return rows.float().cpu().clone()


def _sample(table: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    pool = min(COMMON, table.shape[0])
    if count <= pool:
        return torch.randperm(pool, generator=generator)[:count]
    return torch.randint(pool, (count,), generator=generator)


def _label_rows(
    table: Tensor, tokenizer: Any, labels: Sequence[str], length: int, generator: torch.Generator | None
) -> Tensor:
    pieces = [tokenizer(label, add_special_tokens=False)["input_ids"] for label in labels[:length]]
    rows = [table[torch.tensor(ids)].float().mean(0) for ids in pieces]
    rest = table[_sample(table, length - len(rows), generator)].float()
    return torch.cat([*(row[None] for row in rows), rest])


def _text_ids(tokenizer: Any, text: str, eos: bool) -> list[int]:
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if not ids:
        raise ValueError(f"method.init_text={text!r} has no tokens; give a sentence.")
    ends = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    return [*ids, ends] if eos and ends is not None else ids


def _cycled(ids: list[int], length: int) -> Tensor:
    return torch.tensor([ids[i % len(ids)] for i in range(length)])
