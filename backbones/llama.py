"""Decoder-only language models (the family is called ``llama``): rows, losses, ranking, generation.

A row is ``[prompt m][left-padded source][target, right-padded]``. A prompt stands in front of everything and
attention is causal, so its keys and values depend on nothing behind it: those of K prompts are computed once per
forward (once per evaluation, as long as the prompts do not change) and each row takes those of its own.

A prompt's slots are tokens like others: they have the first positions, and where a layer's attention is local they
fall out of its window as those tokens would (a deep prefix has no position and is seen from everywhere).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from backbones.base import Backbone
from backbones.batch import Batch, among, answers, pad
from backbones.config import BackboneConfig
from backbones.joint import each
from backbones.log_probs import all_ended, edge_log_probs, sum_candidates, summed_losses, taken
from backbones.masks import FOLLOWING, laid_out
from backbones.own import body_of, own_head
from backbones.positions import causal_visibility, offset_rows, positions_of
from backbones.prompt_states import PromptStates, by_row
from backbones.trie import pack
from methods.base import InputMethod
from methods.source import Prompts


class Llama(Backbone):
    """See the module's text; the five questions are those of backbones.base.Backbone."""

    SIZES: ClassVar = {
        "hidden_size": "width", "num_hidden_layers": "layers", "num_attention_heads": "heads",
        "num_key_value_heads": "kv_heads", "head_dim": "head_dim", "vocab_size": "vocab", "intermediate_size": "ffn",
        "max_position_embeddings": "max_positions",
    }  # fmt: skip
    LAYERS: ClassVar = {
        "q": r"(self_attn|attn)\.q_proj", "k": r"(self_attn|attn)\.k_proj", "v": r"(self_attn|attn)\.v_proj",
        "o": r"(self_attn|attn)\.(o_proj|out_proj)", "up": r"(mlp\.up_proj|fc1)", "down": r"(mlp\.down_proj|fc2)",
    }  # fmt: skip

    _source_places: Tensor | None = None  # (B, T), 1 at the source's tokens in the forward that runs
    _answering = False  # decoding goes on behind a prefill

    def __init__(self, model: Any, tokenizer: Any, config: BackboneConfig) -> None:
        super().__init__(model, tokenizer, config)
        self.head_logits = own_head(self.model)  # (N, d) -> (N, V)
        self._owner, self._body = body_of(self.model)
        self.prompt_states = PromptStates(self)

    @property
    def body(self) -> Any:
        """The part of the model that makes hidden states."""
        return self._owner._modules[self._body]

    def train(self, mode: bool = True) -> Llama:
        # a prompt may stay as it is while what it passes through is trained (hooks on layers, biases)
        self.prompt_states.forget()
        super().train(mode)
        return self

    def collate(self, examples: Sequence[Any], *, candidates: bool = False) -> Batch:
        sources = [e.source for e in examples]
        parts = answers(examples, candidates=candidates)
        tries = pack([e.choices for e in examples]) if candidates else None
        return Batch([e.id for e in examples], *pad(sources, left=True), **parts, tries=tries, tokens=sources)

    def losses(self, batch: Batch, inputs: InputMethod) -> tuple[Tensor, Tensor]:
        assert batch.target is not None and batch.target_mask is not None and batch.places is not None
        fed, fed_mask = batch.target[:, :-1], batch.target_mask[:, :-1]  # the last token is predicted, never fed
        ids, mask = torch.cat([batch.source, fed], 1), torch.cat([batch.source_mask, fed_mask], 1)
        # an answer of several tokens loses one to the shift, and a shorter row's last token is fed but predicts nothing
        prompts = inputs.read(self.source(batch, offset_rows(batch, inputs, 0)))
        tokens = inputs.shift(self.embed(ids), ids, offset_rows(batch, inputs, fed.shape[1]))
        self.note_source(torch.cat([batch.source_mask, torch.zeros_like(fed_mask)], 1))
        hidden = self.causal_states(tokens, mask, prompts)
        states = hidden[:, batch.source.shape[1] - 1 :]
        joint = self.joint(batch, inputs, states[:, 0])
        return summed_losses(joint.states(states), batch.target, batch.target_mask, batch.places, joint.logits)

    def causal_states(self, embeds: Tensor, mask: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Hidden states of the tokens under ordinary causal attention.

        Args:
            embeds: (B, T, d) tokens as they enter the first layer.
            mask: (B, T) mask of the tokens.
            prompts: what stands in front of them; None = nothing.

        Returns:
            (B, T, d), after the final norm.
        """
        length = mask.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        visible = causal & mask.bool()[:, None]
        return self._states(embeds, visible, positions_of(mask), prompts=prompts)[0]

    def rank(self, batch: Batch, inputs: InputMethod) -> Tensor:
        assert batch.choices is not None and batch.choices_mask is not None
        assert batch.tries is not None and batch.places is not None
        packed, length = batch.tries, batch.source.shape[1]
        tokens, prompts = self._read(batch, inputs)
        embeds = torch.cat([tokens, self._shifted(inputs, packed.ids)], 1)
        nodes = packed.ids.shape[1]
        visible = torch.zeros(len(batch), length + nodes, length + nodes, dtype=torch.bool, device=tokens.device)
        real = batch.source_mask.bool()
        visible[:, :length, :length] = torch.ones_like(visible[0, :length, :length]).tril() & real[:, None]
        visible[:, length:, :length] = real[:, None]
        visible[:, length:, length:] = packed.visible
        positions = torch.cat([positions_of(batch.source_mask), real.sum(1, keepdim=True) + packed.depth], 1)
        self.note_source(torch.cat([batch.source_mask, torch.zeros_like(packed.ids)], 1))
        hidden = self._states(embeds, visible, positions, prompts=prompts)[0]
        hidden = hidden[:, length - 1 :]
        joint = self.joint(batch, inputs, hidden[:, 0])
        hidden = joint.states(hidden)
        # only the slots that some candidate token starts from reach the head
        starts, wanted = hidden.flatten(0, 1)[packed.used], batch.choices.flatten()[batch.places]
        scores = edge_log_probs(starts, packed.edges, wanted, joint.logits)
        return sum_candidates(scores, batch.choices_mask, batch.places)

    def generate(self, batch: Batch, inputs: InputMethod, max_new_tokens: int) -> list[list[int]]:
        return taken(self.decode(batch, inputs, max_new_tokens), self.eos_ids, batch.examples)

    def decode(self, batch: Batch, inputs: InputMethod, max_new_tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Greedy decoding step by step: logits (B, V) and the tokens taken (B,); ends where every row has ended."""
        mask = batch.source_mask
        self.refuse_positions(mask.shape[1] + inputs.prompt_slots + max_new_tokens)
        source, prompts = self._read(batch, inputs)
        length = mask.shape[1]
        visible = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril() & mask.bool()[:, None]
        self.note_source(mask)
        hidden, cache = self._states(source, visible, positions_of(mask), prompts=prompts, keep=True)
        self.note_source(None)  # what gates read stays as it was
        joint = self.joint(batch, inputs, hidden[:, -1])
        if prompts is not None and prompts.together:
            mask, prompts = each(mask, prompts.rows), prompts.flat()
        answering = len(mask) // len(batch)  # prompts that answer an example together
        # what the cache holds: the prompt and the source
        seen = mask if prompts is None else torch.cat([prompts.seen(mask), mask], 1)
        positions, places = self._places(positions_of(mask), prompts)
        position = positions[:, -1:] + 1
        eos = self.eos_ids
        ended = torch.zeros(len(batch), dtype=torch.bool, device=mask.device)
        for count in range(1, max_new_tokens + 1):
            logits = joint.logits(joint.states(hidden[:, -1]))
            step = logits.argmax(-1)
            yield logits, step
            ended |= among(step, eos)
            if count == max_new_tokens or all_ended(ended, count):
                return
            seen = torch.cat([seen, seen.new_ones(len(seen), 1)], 1)
            places = torch.cat([places, position], 1)
            embeds = self._shifted(inputs, each(step, answering)[:, None])
            hidden = self.run_body(embeds, seen[:, None, :].bool(), position, places, cache)
            position = position + 1

    def note_source(self, mask: Tensor | None) -> None:
        super().note_source(mask)
        self._source_places = mask if mask is not None else self._source_places
        self._answering = mask is None

    def contexts(self, length: int) -> Tensor:
        places = self._source_places
        if self._answering or places is None:  # decoded tokens
            return torch.ones(1, length, dtype=torch.long, device=self.device)
        if self.prompt_states.running:
            return torch.zeros(1, length, dtype=torch.long, device=self.device)
        return F.pad(1 - places, (length - places.shape[1], 0))

    def _read(self, batch: Batch, inputs: InputMethod) -> tuple[Tensor, Prompts | None]:
        """The source's tokens as they enter the first layer (B, S, d), and what stands in front of them."""
        source = self.source(batch, offset_rows(batch, inputs, 0))
        return inputs.shift(source.embeds, source.ids, source.rows), inputs.read(source)

    def summary(self, ids: Tensor, types: Tensor | None) -> Tensor:
        length = ids.shape[1]
        visible = torch.ones(len(ids), length, length, dtype=torch.bool, device=ids.device).tril()
        positions = torch.arange(length, device=ids.device)[None].expand(len(ids), -1)
        return self._states(self.embed(ids), visible, positions, prompts=None)[0][:, -1]

    def _shifted(self, inputs: InputMethod, ids: Tensor) -> Tensor:
        """Embeddings (B, T, d) of answer tokens, treated as in training unless the method follows the author code."""
        return inputs.answered(self.embed(ids), ids)

    @torch.no_grad()
    def keys_and_values(self, prompt: Tensor) -> Tensor:
        """What every layer makes of a prompt (l, d): (l, 2 L H d_h) in the order of methods.prefix.Prefix.

        The text behind a deep prefix starts at position 0, so these stand at -l..-1: rotary attention sees distances
        alone, and a prefix of these keys and values equals the prompt itself.
        """
        if self.position_limit:
            raise ValueError(
                f"method.init: a deep prefix stands in front of the first position of backbone {self.config.name!r}, "
                "whose positions are a table: it cannot start from real tokens; set method.init=random."
            )
        like = self.embedding.weight
        seen = torch.ones(1, len(prompt), device=like.device)
        states = self.prompt_states.at(prompt[None].to(like), seen, -len(prompt))
        both = torch.stack([torch.stack([keys[0], values[0]]) for keys, values in states])  # (L, 2, H, l, d_h)
        return both.permute(3, 0, 1, 2, 4).flatten(1).float().cpu()

    def _states(
        self,
        embeds: Tensor,
        visible: Tensor,
        positions: Tensor,
        *,
        prompts: Prompts | None,
        keep: bool = False,
    ) -> tuple[Tensor, DynamicCache]:
        """Hidden states (B, T, d) of tokens (B, T, d), and the cache behind them (filled for prompts or ``keep``).

        ``visible`` (B, T, T): token i sees token j. ``positions`` (B, T) count from the first real token. Where K
        prompts answer together, an example has K rows, next to each other.
        """
        if prompts is not None and prompts.together:
            embeds, visible, positions = (each(t, prompts.rows) for t in (embeds, visible, positions))
            prompts = prompts.flat()
        batch, length = positions.shape
        visible = visible | torch.eye(length, dtype=torch.bool, device=visible.device)  # no empty rows: softmax
        slots = prompts.slots if prompts is not None else 0
        self.refuse_positions(slots + length)
        positions, places = self._places(positions, prompts)
        cache = DynamicCache()
        share = prompts is not None and not self.checkpointing_now  # checkpointed layers take no cache
        if prompts is not None:
            front = prompts.seen(positions).bool()
            visible = torch.cat([front[:, None].expand(-1, length, -1), visible], 2)
            if share:
                for index, (keys, values) in enumerate(self.prompt_states.of(prompts, batch)):
                    cache.update(by_row(keys, prompts, batch), by_row(values, prompts, batch), index)
                # gradients come back in the layout of [prompt; tokens], and so are summed in the order they always were
                embeds = torch.cat([prompts.by_row(batch).detach(), embeds], 1)[:, slots:]
            else:  # the prompt is fed in every row
                top = causal_visibility(front)
                top = torch.cat([top, top.new_zeros(batch, slots, length)], 2)
                visible = torch.cat([top, visible], 1)
                positions = places
                embeds = torch.cat([prompts.by_row(batch), embeds], 1)
        hidden = self.run_body(embeds, visible, positions, places, cache if share or keep else None)
        return hidden[:, -length:], cache

    def _places(self, positions: Tensor, prompts: Prompts | None) -> tuple[Tensor, Tensor]:
        """Positions of the tokens behind their prompts (B, T), and of prompts and tokens together (B, m + T).

        A shorter prompt (packed sweeps) has masked slots in front and takes as many positions as it has vectors.
        """
        if prompts is None:
            positions = positions + self.position_offset
            return positions, positions
        front = prompts.seen(positions)
        positions = positions + front.sum(1, keepdim=True) + self.position_offset
        return positions, torch.cat([positions_of(front), positions], 1)

    def run_body(
        self, embeds: Tensor, visible: Tensor, positions: Tensor, places: Tensor, cache: DynamicCache | None
    ) -> Tensor:
        """The model's own body: (B, Q, d) hidden states after its final norm.

        Args:
            embeds: (B, Q, d).
            visible: (B, Q, K) whether a token may see another one; the model's own windows come on top.
            positions: (B, Q) of the tokens that are fed.
            places: (B, K) positions of all tokens, those in the cache first.
            cache: takes the keys and values of what is fed; None = none are kept.
        """
        attention = self.model.config._attn_implementation
        if attention not in FOLLOWING:
            raise ValueError(f"attention {attention!r} has no masks by position; backbone.attention=sdpa or eager has.")
        with laid_out(visible, positions, places):
            return self.body(
                inputs_embeds=embeds,
                attention_mask=torch.ones_like(places),  # the layout says who sees whom
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
            ).last_hidden_state
