"""Encoder-decoder models of the T5 family: the method touches the encoder's input, the decoder gets ordinary labels.

T5 ties one embedding table to encoder, decoder and (v1.0) head; offsets and prompts go in as the encoder's
``inputs_embeds`` alone, so the decoder's and the head's copies stay untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from backbones.base import Backbone
from backbones.batch import Batch, among, answers, pad, sent
from backbones.config import BackboneConfig
from backbones.joint import Joint, each
from backbones.log_probs import all_ended, edge_log_probs, sum_candidates, summed_losses, taken
from backbones.own import own_head
from methods.base import InputMethod

CANDIDATE_ROWS_AT_ONCE = 128  # decoder rows while ranking; bounds the copies of the cross-attention's keys


class T5(Backbone):
    """See the module's text; the five questions are those of backbones.base.Backbone."""

    SIZES: ClassVar = {
        "d_model": "width", "num_layers": "layers", "num_decoder_layers": "decoder_layers", "num_heads": "heads",
        "d_kv": "head_dim", "d_ff": "ffn", "vocab_size": "vocab", "dropout_rate": "dropout",
    }  # fmt: skip
    LAYERS: ClassVar = {
        "q": r"(SelfAttention|EncDecAttention)\.q", "k": r"(SelfAttention|EncDecAttention)\.k",
        "v": r"(SelfAttention|EncDecAttention)\.v", "o": r"(SelfAttention|EncDecAttention)\.o",
        "up": r"DenseReluDense\.(wi|wi_1)", "down": r"DenseReluDense\.wo",
    }  # fmt: skip

    def __init__(self, model: Any, tokenizer: Any, config: BackboneConfig) -> None:
        super().__init__(model, tokenizer, config)
        self.head_logits = own_head(self.model)  # (N, d) -> (N, V)

    def collate(self, examples: Sequence[Any], *, candidates: bool = False) -> Batch:
        sources = [e.source for e in examples]
        parts = answers(examples, candidates=candidates)
        return Batch([e.id for e in examples], *pad(sources), **parts, tokens=sources)

    def losses(self, batch: Batch, inputs: InputMethod) -> tuple[Tensor, Tensor]:
        assert batch.target is not None and batch.target_mask is not None and batch.places is not None
        embeds, mask = self.encoder_inputs(batch, inputs)
        encoded = self.encode(embeds, mask, batch.source_mask)
        start = batch.target.new_full((len(batch), 1), self.start_id)
        fed = each(torch.cat([start, batch.target[:, :-1]], 1), len(mask) // len(batch))
        hidden = self._decode(fed, encoded, mask)
        joint = self.joint(batch, inputs, hidden[:, 0])
        return summed_losses(joint.states(hidden), batch.target, batch.target_mask, batch.places, joint.logits)

    def encoder_inputs(self, batch: Batch, inputs: InputMethod) -> tuple[Tensor, Tensor]:
        """What the encoder reads, (B, m + S, d), and its mask; (B K, m + S, d) where K prompts answer together."""
        return inputs(self.source(batch))

    def summary(self, ids: Tensor, types: Tensor | None) -> Tensor:
        return self.model.encoder(input_ids=ids).last_hidden_state.mean(1)

    def encode(self, embeds: Tensor, mask: Tensor, source_mask: Tensor) -> Tensor:
        """Encoder states (B, m + S, d)."""
        slots = mask.shape[1] - source_mask.shape[1]
        sources = each(source_mask, len(mask) // len(source_mask))
        sources = torch.cat([mask.new_zeros(len(mask), slots), sources], 1)
        self.note_source(sources)
        encoded = self.model.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        self.note_encoded(encoded, sources)
        return encoded

    @property
    def start_id(self) -> int:
        """What the decoder starts from."""
        return int(self.model.config.decoder_start_token_id)

    def rank(self, batch: Batch, inputs: InputMethod) -> Tensor:
        assert batch.choices is not None and batch.choices_mask is not None
        assert batch.counts is not None and batch.places is not None
        embeds, mask = self.encoder_inputs(batch, inputs)
        encoded = self.encode(embeds, mask, batch.source_mask)
        rows, count = batch.choices.shape[:2]
        first, cache = self._first_step(encoded, mask)
        joint = self.joint(batch, inputs, first)
        # the start token's state is the same for all candidates of an example
        owner = torch.arange(rows, device=mask.device).repeat_interleave(count)
        chosen = batch.choices.flatten(0, 1)
        tokens = torch.zeros(chosen.shape, dtype=torch.float32, device=mask.device)
        tokens[:, 0] = edge_log_probs(joint.states(first), owner, chosen[:, 0], joint.logits)
        step = max(1, CANDIDATE_ROWS_AT_ONCE // len(mask))
        by_row = tokens.view(rows, count, -1)
        for begin in range(0, count if chosen.shape[1] > 1 else 0, step):
            part = slice(begin, min(begin + step, count))
            fed = batch.choices[:, part].flatten(0, 1)
            scores = self._continue(fed, batch.counts[:, part], encoded, mask, cache, joint)
            by_row[:, part, 1:] = scores.view(rows, -1, scores.shape[1])
        return sum_candidates(tokens.flatten()[batch.places], batch.choices_mask, batch.places)

    def _first_step(self, encoded: Tensor, mask: Tensor) -> tuple[Tensor, EncoderDecoderCache]:
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        start = torch.full((len(mask), 1), self.start_id, dtype=torch.long, device=mask.device)
        return self._decode(start, encoded, mask, cache)[:, 0], cache

    def _continue(
        self,
        chosen: Tensor,
        lengths: np.ndarray,
        encoded: Tensor,
        mask: Tensor,
        cache: EncoderDecoderCache,
        joint: Joint,
    ) -> Tensor:
        """Log-probabilities of the second and later tokens of some candidates of each example, (B * count, L - 1).

        Args:
            chosen: (B * count, L) their tokens.
            lengths: (B, count) how many each has, on the host.
        """
        count = lengths.shape[1]
        copy = EncoderDecoderCache(_copied(cache.self_attention_cache), _copied(cache.cross_attention_cache))
        copy.batch_repeat_interleave(count)
        prompts = len(mask) * count // len(chosen)  # that answer an example together: each has all its candidates
        fed = chosen[:, :-1].unflatten(0, (-1, 1, count)).expand(-1, prompts, -1, -1).flatten(0, 2)
        with self.repeated(count):
            hidden = self._decode(fed, encoded.repeat_interleave(count, 0), mask.repeat_interleave(count, 0), copy)
        hidden = joint.states(hidden)
        following = chosen[:, 1:]
        real = np.arange(1, chosen.shape[1]) < lengths.reshape(-1, 1)
        places = sent(torch.from_numpy(np.flatnonzero(real)), mask.device)
        slots = torch.arange(len(places), device=mask.device)
        found = edge_log_probs(hidden.flatten(0, 1)[places], slots, following.flatten()[places], joint.logits)
        scores = torch.zeros(following.numel(), dtype=torch.float32, device=mask.device)
        return scores.index_copy(0, places, found).view(following.shape)

    def generate(self, batch: Batch, inputs: InputMethod, max_new_tokens: int) -> list[list[int]]:
        return taken(self.decode(batch, inputs, max_new_tokens), self.eos_ids, batch.examples)

    def decode(self, batch: Batch, inputs: InputMethod, max_new_tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Greedy decoding step by step: logits (B, V) and the tokens taken (B,); ends where every row has ended."""
        embeds, mask = self.encoder_inputs(batch, inputs)
        encoded = self.encode(embeds, mask, batch.source_mask)
        hidden, cache = self._first_step(encoded, mask)
        joint, prompts = self.joint(batch, inputs, hidden), len(mask) // len(batch)
        eos = self.eos_ids
        ended = torch.zeros(len(batch), dtype=torch.bool, device=mask.device)
        for count in range(1, max_new_tokens + 1):
            logits = joint.logits(joint.states(hidden))
            step = logits.argmax(-1)
            yield logits, step
            ended |= among(step, eos)
            if count == max_new_tokens or all_ended(ended, count):
                return
            hidden = self._decode(each(step, prompts)[:, None], encoded, mask, cache)[:, 0]

    def _decode(self, ids: Tensor, encoded: Tensor, mask: Tensor, cache: EncoderDecoderCache | None = None) -> Tensor:
        """Decoder states (B, L, d); right padding needs no mask under causal attention."""
        return self.model.decoder(
            input_ids=ids,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state


def _copied(cache: DynamicCache) -> DynamicCache:
    """A cache of the same tensors; a forward appends to a cache, and the first step's is used again."""
    layers: list[Any] = list(cache.layers)
    return DynamicCache([(layer.keys, layer.values) for layer in layers])
