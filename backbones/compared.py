"""Our path and the model's own forward on the same rows: what `backbones.admission` judges.

Every comparison is per row: ours in a padded batch, theirs alone. Differences are shares of the largest value compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from backbones.base import Backbone, NoPrompt
from backbones.plain import answer_log_probs, plain_logits, plain_states
from methods.base import InputMethod
from methods.source import Source

LENGTHS = (3, 9, 6)  # tokens of the short rows
SLOTS = 4  # prompt vectors
STEPS = 3  # tokens decoded
BEYOND = 7  # tokens by which the long row passes the longest window
WINDOWS = (
    "sliding_window", "local_attention", "attention_window", "window_size", "attention_chunk_size", "local_radius",
    "block_size", "global_block_size",
)  # fmt: skip


@dataclass
class Comparison:
    """What was seen.

    Attributes:
        differences: by what was compared, the largest difference as a share of the scale.
        changes: by the sentence to say if it is too small, how far something that must act moved the answers, and how
            far rounding moves them.
        longest: tokens of the longest row.
        window: the longest local window that the model's configuration names, 0 = none.
    """

    differences: dict[str, float] = field(default_factory=dict)
    changes: dict[str, tuple[float, float]] = field(default_factory=dict)
    longest: int = 0
    window: int = 0

    def must_act(self, sentence: str, change: float, what: str) -> None:
        """Note how far something moved the answers that were compared under `what`."""
        noise = max(value for name, value in self.differences.items() if name in (what, f"{what} with a prompt"))
        self.changes[sentence] = change, noise

    def add(self, what: str, ours: Tensor, theirs: Tensor) -> None:
        """Note one comparison; of several under one name the largest counts."""
        self.differences[what] = max(self.differences.get(what, 0.0), share(ours, theirs))


@dataclass
class Row:
    """An example as `Backbone.collate` wants it (tasks.encode.Encoded has this shape)."""

    id: str
    source: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
    choices: list[list[int]] = field(default_factory=list)
    label: int | None = None
    segments: list[list[int]] = field(default_factory=list)
    token_types: list[list[int]] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)


class Prompt(InputMethod):
    """A prompt of given vectors (m, d), the same for all rows."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors, self.prompt_slots = vectors, len(vectors)

    def prompts(self, source: Source) -> Tensor:
        """(m, d)."""
        return self.vectors


def compare_text(backbone: Backbone) -> Comparison:
    """Losses, candidate scores and decoding of a decoder-only or T5 model."""
    found, draw = Comparison(window=window_of(backbone)), _Draw(backbone)
    short = [_text_row(draw, length) for length in LENGTHS]
    bare = _text(found, backbone, short, "", NoPrompt(), None)
    vectors = backbone.embed(draw.tokens(SLOTS)).detach()
    moved = _text(found, backbone, short, " with a prompt", Prompt(vectors), vectors)
    change = _least_change(moved, bare)
    found.must_act("a prompt in front of its rows does not change their answers", change, "decoding")
    long = _long_length(backbone, found.window)
    if long > max(LENGTHS):
        rows = [short[0], _text_row(draw, long)]
        _text(found, backbone, rows, f" of a row of {long} tokens", NoPrompt(), None)
        _text(found, backbone, rows, f" of a row of {long} tokens with a prompt", Prompt(vectors), vectors)
    found.longest = max(long, *LENGTHS) + SLOTS + STEPS
    _attention(found, backbone, lambda: plain_logits(backbone, draw.given(short[1].source), draw.given([[9]]))[0])
    return found


def _text(
    found: Comparison, backbone: Any, rows: Sequence[Row], where: str, inputs: InputMethod, front: Tensor | None
) -> Tensor:
    """Compare rows in one batch; our first logits (B, V), for what a prompt must change."""
    device = backbone.device
    scores = backbone.rank(backbone.collate(rows, candidates=True).to(device), inputs)
    losses = backbone.losses(backbone.collate(rows).to(device), inputs)[0]
    decoded = list(backbone.decode(backbone.collate(rows).to(device), inputs, STEPS))
    logits = torch.stack([step for step, _ in decoded], 1).float()
    tokens = torch.stack([token for _, token in decoded], 1)
    for index, row in enumerate(rows):
        source = torch.tensor(row.source, device=device)
        theirs = _plain_scores(backbone, source, row.choices, front)
        found.add(f"candidate scores{where}", scores[index], theirs)
        found.add(f"the loss{where}", losses[index], -theirs[row.choices.index(row.target)])
        again = plain_logits(backbone, source, tokens[index : index + 1, :-1], front)[0]
        found.add(f"decoding{where}", logits[index], again)
    return logits[:, 0]


def _plain_scores(backbone: Backbone, source: Tensor, choices: list[list[int]], front: Tensor | None) -> Tensor:
    """Log-probabilities of the candidates, those of one length in one pass."""
    scores = torch.empty(len(choices), device=source.device)
    for length in sorted({len(choice) for choice in choices}):
        chosen = [i for i, choice in enumerate(choices) if len(choice) == length]
        answers = torch.tensor([choices[i] for i in chosen], device=source.device)
        scores[chosen] = answer_log_probs(plain_logits(backbone, source, answers[:, :-1], front), answers)
    return scores


def compare_encoder(backbone: Backbone) -> Comparison:
    """Hidden states (what classification and tagging read) and the pooled first token of an encoder."""
    found, draw = Comparison(window=window_of(backbone)), _Draw(backbone)
    short = [_segments(draw, length) for length in LENGTHS]
    bare = _states(found, backbone, short, "", None)
    vectors = backbone.embed(draw.tokens(SLOTS)).detach()
    moved = _states(found, backbone, short, " with a prompt", vectors)
    change = _least_change(torch.stack([s[0] for s in moved]), torch.stack([s[0] for s in bare]))
    found.must_act("a prompt in front of its rows does not change their states", change, "hidden states")
    last = Row(
        "last", segments=[[*short[1].segments[0][:-1], *draw.tokens(1).tolist()]], token_types=short[1].token_types
    )
    (seen,) = _states(found, backbone, [last], "", None)
    blind = "its first token does not see the last one, as in a decoder-only model; use backbone=hub or hub_llama"
    found.must_act(blind, share(seen[0], bare[1][0]), "hidden states")
    long = _long_length(backbone, found.window)
    if long > max(LENGTHS):
        rows = [short[0], _segments(draw, long)]
        for front in (None, vectors):
            _states(
                found,
                backbone,
                rows,
                f" of a row of {long} tokens{' with a prompt' if front is not None else ''}",
                front,
            )
    found.longest = max(long, *LENGTHS) + SLOTS
    _attention(found, backbone, lambda: plain_states(backbone, draw.given(short[1].segments[0]), None)[0])
    return found


def _states(found: Comparison, backbone: Any, rows: Sequence[Row], where: str, front: Tensor | None) -> list[Tensor]:
    kind, backbone.head_kind = backbone.head_kind, None
    try:
        batch = backbone.collate(rows).to(backbone.device)
    finally:
        backbone.head_kind = kind
    hidden = backbone.hidden(batch, NoPrompt() if front is None else Prompt(front)).float()
    pooled = backbone.pooled(hidden.to(backbone.dtype)).float()
    several = getattr(backbone.model.config, "type_vocab_size", 0) > 1
    for index, row in enumerate(rows):
        ids, types = (torch.tensor(v[0], device=backbone.device) for v in (row.segments, row.token_types))
        if front is not None and not backbone.config.position_shift:
            continue  # the text keeps its own positions there: no plain forward does that
        theirs, their_pooled = plain_states(backbone, ids, types if several else None, front)
        found.add(f"hidden states{where}", hidden[index, : len(ids)], theirs)
        if their_pooled is not None:
            found.add(f"pooled states{where}", pooled[index], their_pooled)
    return [states[: len(row.segments[0])] for states, row in zip(hidden, rows, strict=True)]


def _attention(found: Comparison, backbone: Backbone, answer: Any) -> None:
    """What the fast attention leaves out (soft caps, sinks) shows against eager attention."""
    model: Any = backbone.model
    used = model.config._attn_implementation
    if used == "eager":
        return
    fast = answer()
    try:
        model.set_attn_implementation("eager")
        found.add(f"{used} attention against eager attention", fast, answer())
    finally:
        model.set_attn_implementation(used)


class _Draw:
    """Tokens drawn from a fixed seed, none of them special."""

    def __init__(self, backbone: Backbone) -> None:
        self.generator = torch.Generator().manual_seed(20)
        self.device = backbone.device
        special = {*getattr(backbone.tokenizer, "all_special_ids", ()), 0, 1, 2, 3}
        rows = min(backbone.facts.vocab, 2**16)
        self.pool = torch.tensor([token for token in range(rows) if token not in special])
        eos = sorted(backbone.eos_ids)
        self.end = eos[0] if eos else int(self.pool[0])

    def tokens(self, count: int) -> Tensor:
        """(count,) ids."""
        return self.pool[torch.randint(len(self.pool), (count,), generator=self.generator)].to(self.device)

    def given(self, ids: Any) -> Tensor:
        return torch.tensor(ids, device=self.device)


def _text_row(draw: _Draw, length: int) -> Row:
    """Candidates of two lengths; two of them share their first token, and one is the target."""
    first, second, third, fourth = draw.tokens(4).tolist()
    choices = [[first, draw.end], [first, second, draw.end], [third, fourth, draw.end]]
    return Row(str(length), draw.tokens(length).tolist(), choices[1], choices)


def _segments(draw: _Draw, length: int) -> Row:
    half = length // 2
    return Row(str(length), segments=[draw.tokens(length).tolist()], token_types=[[0] * half + [1] * (length - half)])


def window_of(backbone: Backbone) -> int:
    """The longest local window that the model's configuration names and that a row can pass; 0 = none."""
    settings = backbone.model.config.to_dict()
    longest = backbone.facts.max_positions
    sizes = list(_integers(settings.get(name) for name in WINDOWS))
    return max((size for size in sizes if not longest or size + BEYOND + SLOTS + STEPS <= longest), default=0)


def _integers(values: Any) -> Iterator[int]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _integers(value)
        elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield value


def _long_length(backbone: Backbone, window: int) -> int:
    return window + BEYOND if window else 2 * max(LENGTHS)


def _least_change(moved: Tensor, bare: Tensor) -> float:
    """The smallest change of any row, as a share of the scale."""
    return min(share(one, other) for one, other in zip(moved, bare, strict=True))


def share(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest value; infinite where a value is no number."""
    scale = max(float(theirs.float().abs().max()), 1e-6)
    value = float((ours.float() - theirs.float()).abs().max()) / scale
    return float("inf") if math.isnan(value) else value
