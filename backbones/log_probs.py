"""Cross-entropy and exact log-probabilities over the whole vocabulary, at chosen positions only.

A (batch, length, vocabulary) logit tensor is never made: the head sees the positions that predict an answer's
token and no others, a slice of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from backbones.errors import NoNumber

Head = Callable[[Tensor], Tensor]  # (N, d) -> (N, V)
POSITIONS_AT_ONCE = 512
ASKED_EVERY = 8  # tokens between two looks at a device, whether all answers have ended


def token_losses(hidden: Tensor, targets: Tensor, head: Head) -> Tensor:
    """Cross-entropy of each target token over the whole vocabulary, in float32.

    Args:
        hidden: (N, d) hidden states at the positions that predict the tokens.
        targets: (N,) token ids.
        head: the language-model head.

    Returns:
        (N,) losses.
    """

    def part(states: Tensor, tokens: Tensor) -> Tensor:
        return F.cross_entropy(head(states).float(), tokens, reduction="none")

    if len(targets) <= POSITIONS_AT_ONCE:
        return part(hidden, targets)
    pieces = zip(hidden.split(POSITIONS_AT_ONCE), targets.split(POSITIONS_AT_ONCE), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(part, states, tokens, use_reentrant=False) for states, tokens in pieces])
    return torch.cat([part(states, tokens) for states, tokens in pieces])


def summed_losses(hidden: Tensor, targets: Tensor, mask: Tensor, places: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    """Per-example sums of the target cross-entropy.

    Args:
        hidden: (B, L, d); ``hidden[:, j]`` predicts ``targets[:, j]``.
        targets: (B, L) token ids.
        mask: (B, L), 1 at real target tokens.
        places: (N,) where these are in (B * L); see backbones.batch.Batch.
        head: the language-model head.

    Returns:
        (B,) summed losses and (B,) numbers of target tokens.
    """
    losses = token_losses(hidden.flatten(0, 1).index_select(0, places), targets.flatten()[places], head)
    total = torch.zeros(len(targets), dtype=losses.dtype, device=losses.device)
    return total.index_add(0, places // targets.shape[1], losses), mask.sum(1)


def edge_log_probs(hidden: Tensor, slots: Tensor, tokens: Tensor, head: Head) -> Tensor:
    """Exact log-probabilities of (position, next token) pairs; a position's normaliser is computed once.

    Args:
        hidden: (N, d) hidden states of the distinct positions.
        slots: (E,) which position each pair starts from.
        tokens: (E,) the next token of each pair.
        head: the language-model head.

    Returns:
        (E,) float32.
    """
    scores = torch.zeros(len(slots), dtype=torch.float32, device=hidden.device)
    for start in range(0, len(hidden), POSITIONS_AT_ONCE):
        logits = head(hidden[start : start + POSITIONS_AT_ONCE]).float()
        local = slots - start
        here = (local >= 0) & (local < len(logits))
        local = local.clamp(0, len(logits) - 1)  # pairs of other slices are read too and left out: no wait for the mask
        scores = torch.where(here, logits[local, tokens] - logits.logsumexp(-1)[local], scores)
    return scores


def sum_candidates(scores: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """Sum token scores (E,) to candidates (B, C); -inf where a candidate is missing.

    Args:
        mask: (B, C, L), 1 at the candidates' tokens.
        places: (E,) where these are in (B * C * L).
    """
    tokens = torch.zeros(mask.numel(), dtype=scores.dtype, device=scores.device)
    tokens = tokens.index_copy(0, places, scores).view(mask.shape)
    return tokens.sum(-1).masked_fill(mask.sum(-1) == 0, -torch.inf)


def all_ended(ended: Tensor, count: int) -> bool:
    """Whether every answer has its EOS after `count` tokens; off the CPU it is asked now and then, for asking waits."""
    return (ended.device.type == "cpu" or count % ASKED_EVERY == 0) and bool(ended.all())


def taken(steps: Iterable[tuple[Tensor, Tensor]], eos: set[int], rows: Sequence[str]) -> list[list[int]]:
    """Each row's decoded tokens before its first EOS; the device is asked once.

    Args:
        steps: logits (B, V) and tokens (B,) of each step.
        eos: what ends an answer.
        rows: ids, for a message.

    Raises:
        NoNumber: the logits that a row's tokens were taken from are none.
    """
    made = [torch.stack([step, (~sound(logits, step)).to(step)], 1) for logits, step in steps]
    tokens = torch.stack(made, 2).tolist()
    answers = [cut(row, eos) for row, _ in tokens]
    wrong = [name for name, one, (_, bad) in zip(rows, answers, tokens, strict=True) if any(bad[: len(one) + 1])]
    if wrong:
        raise NoNumber(wrong, len(rows))
    return answers


def sound(logits: Tensor, step: Tensor) -> Tensor:
    """Whether each row's largest logit is a number, (B,): where one is NaN, that one is found to be the largest."""
    return logits.gather(1, step[:, None])[:, 0].isfinite()


def cut(tokens: list[int], eos: set[int]) -> list[int]:
    """The tokens before the first EOS."""
    for index, token in enumerate(tokens):
        if token in eos:
            return tokens[:index]
    return tokens
