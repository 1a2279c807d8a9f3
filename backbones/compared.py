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
from backbones.quantised import de_quantised
from methods.base import InputMethod
from methods.source import Source

LENGTHS = (6, 3)  # tokens of the short rows
LONG = 11  # tokens of the long row where there is no window
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

    def take_lengths(self) -> list[int]:
        """Tokens of the rows that are compared, the long one last."""
        self.longest = self.window + BEYOND if self.window else LONG
        return [*LENGTHS, self.longest]

    def of_long(self, length: int) -> str:
        """How a comparison of the long row is called."""
        return f" of a row of {length} tokens" if length > max(LENGTHS) else ""

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


class FixedPrompt(InputMethod):
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
    rows = [_text_row(draw, length) for length in found.take_lengths()]
    vectors = backbone.embed(draw.tokens(SLOTS)).detach()
    bare = _text(found, backbone, rows, "", NoPrompt(), None)
    moved = _text(found, backbone, rows, " with a prompt", FixedPrompt(vectors), vectors)
    # a row that is longer than the windows of all layers together need not see its prompt
    change = _least_change(moved[: len(LENGTHS)], bare[: len(LENGTHS)])
    found.must_act("a prompt in front of its rows does not change their answers", change, "decoding")
    found.longest += SLOTS + STEPS
    fed = draw.given([rows[1].target[:-1]])
    _attention(found, backbone, lambda: plain_logits(backbone, draw.given(rows[1].source), fed))
    return found


def _text(
    found: Comparison, backbone: Any, rows: Sequence[Row], how: str, inputs: InputMethod, front: Tensor | None
) -> Tensor:
    """Compare rows in one batch; our first logits (B, V), for what a prompt must change."""
    device = backbone.device
    scores = backbone.rank(backbone.collate(rows, candidates=True).to(device), inputs)
    losses = backbone.losses(backbone.collate(rows).to(device), inputs)[0]
    decoded = list(backbone.decode(backbone.collate(rows).to(device), inputs, STEPS))
    logits = torch.stack([step for step, _ in decoded], 1).float()
    tokens = torch.stack([token for _, token in decoded], 1)
    for index, row in enumerate(rows):
        theirs, again = _plain_answers(backbone, row, tokens[index, :-1], front)
        where = f"{found.of_long(len(row.source))}{how}"
        found.add(f"candidate scores{where}", scores[index], theirs)
        found.add(f"the loss{where}", losses[index], -theirs[row.choices.index(row.target)])
        found.add(f"decoding{where}", logits[index], again)
    return logits[:, 0]


def _plain_answers(backbone: Backbone, row: Row, taken: Tensor, front: Tensor | None) -> tuple[Tensor, Tensor]:
    """Log-probabilities of a row's candidates, and the logits around tokens that were decoded, in one plain pass.

    What is fed for a candidate is fed for a longer one too, or stands beside it; nothing is padded.
    """
    source = torch.tensor(row.source, device=backbone.device)
    longest = max(row.choices, key=len)[:-1]
    fed = [choice[:-1] for choice in row.choices if len(choice) == len(longest) + 1]
    if len(taken) == len(longest):
        logits = plain_logits(backbone, source, torch.tensor([*fed, taken.tolist()], device=source.device), front)
        logits, again = logits[:-1], logits[-1]
    else:  # every row ended before
        again = plain_logits(backbone, source, taken[None], front)[0]
        logits = plain_logits(backbone, source, torch.tensor(fed, device=source.device), front)
    scores = []
    for choice in row.choices:
        place = next(i for i, tokens in enumerate(fed) if tokens[: len(choice) - 1] == choice[:-1])
        answer = torch.tensor([choice], device=source.device)
        scores.append(answer_log_probs(logits[place : place + 1, : len(choice)], answer)[0])
    return torch.stack(scores), again


def compare_encoder(backbone: Backbone) -> Comparison:
    """Hidden states (what classification and tagging read) and the pooled first token of an encoder."""
    found, draw = Comparison(window=window_of(backbone)), _Draw(backbone)
    rows = [_segments(draw, length) for length in found.take_lengths()]
    vectors = backbone.embed(draw.tokens(SLOTS)).detach()
    bare = _states(found, backbone, rows, "", None)
    moved = _states(found, backbone, rows, " with a prompt", vectors)
    few = slice(0, len(LENGTHS))
    change = _least_change(torch.stack([s[0] for s in moved[few]]), torch.stack([s[0] for s in bare[few]]))
    found.must_act("a prompt in front of its rows does not change their states", change, "hidden states")
    ids = [*rows[0].segments[0][:-1], *draw.tokens(1).tolist()]
    (seen,) = _states(found, backbone, [Row("last", segments=[ids], token_types=rows[0].token_types)], "", None)
    blind = "its first token does not see the last one, as in a decoder-only model; use backbone=hub or hub_llama"
    found.must_act(blind, share(seen[0], bare[0][0]), "hidden states")
    found.longest += SLOTS
    _attention(found, backbone, lambda: plain_states(backbone, draw.given(rows[1].segments[0]), None)[0])
    return found


def _states(found: Comparison, backbone: Any, rows: Sequence[Row], how: str, front: Tensor | None) -> list[Tensor]:
    """Compare rows in one batch; our hidden states of each row's tokens."""
    kind, backbone.head_kind = backbone.head_kind, None
    try:
        batch = backbone.collate(rows).to(backbone.device)
    finally:
        backbone.head_kind = kind
    hidden = backbone.hidden(batch, NoPrompt() if front is None else FixedPrompt(front)).float()
    pooled = backbone.pooled(hidden.to(backbone.dtype)).float()
    several = getattr(backbone.model.config, "type_vocab_size", 0) > 1
    for index, row in enumerate(rows):
        ids, types = (torch.tensor(v[0], device=backbone.device) for v in (row.segments, row.token_types))
        places = None
        if front is not None and not backbone.config.position_shift:  # the text keeps its own positions
            places = torch.cat([torch.arange(len(front)), torch.arange(len(ids))]).to(ids) + first_position(backbone)
        where = f"{found.of_long(len(ids))}{how}"
        theirs, their_pooled = plain_states(backbone, ids, types if several else None, front, places)
        found.add(f"hidden states{where}", hidden[index, : len(ids)], theirs)
        if their_pooled is not None:
            found.add(f"pooled states{where}", pooled[index], their_pooled)
    return [states[: len(row.segments[0])] for states, row in zip(hidden, rows, strict=True)]


def compare_quantised(found: Comparison, backbone: Backbone) -> None:
    """Layers in few bits against plain products with their de-quantised weights, through the whole model."""
    draw = _Draw(backbone)
    source, fed = draw.tokens(LONG), draw.tokens(2)[None]

    def answer() -> Tensor:
        if backbone.facts.traits.writes:
            return plain_logits(backbone, source, fed)
        return plain_states(backbone, source, None)[0]

    few = answer()
    with de_quantised(backbone.model):
        found.add("weights in few bits against the de-quantised ones", few, answer())


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
    if settings.get("attention_type") == "block_sparse":  # BigBird sees everything in shorter rows
        sizes.append((5 + 2 * int(settings.get("num_random_blocks") or 0)) * int(settings.get("block_size") or 0))
    return max((size for size in sizes if not longest or size + BEYOND + SLOTS + STEPS <= longest), default=0)


def _integers(values: Any) -> Iterator[int]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _integers(value)
        elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield value


def first_position(backbone: Backbone) -> int:
    """The position that the model itself gives to its first token: what its table of positions is asked for."""
    asked: list[int] = []
    tables = [m for path, m in backbone.model.named_modules() if path.endswith("position_embeddings")]
    hooks = [m.register_forward_pre_hook(lambda _, args: asked.append(int(args[0].min()))) for m in tables]
    try:
        backbone.model(input_ids=torch.tensor([[11, 12]], device=backbone.device))
    finally:
        for hook in hooks:
            hook.remove()
    return asked[0] if asked else 0


def _least_change(moved: Tensor, bare: Tensor) -> float:
    """The smallest change of any row, as a share of the scale."""
    return min(share(one, other) for one, other in zip(moved, bare, strict=True))


def share(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest value; infinite where a value is no number."""
    scale = max(float(theirs.float().abs().max()), 1e-6)
    value = float((ours.float() - theirs.float()).abs().max()) / scale
    return float("inf") if math.isnan(value) else value
