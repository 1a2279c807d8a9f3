"""The two sides of scripts/walk.py: a method on a specimen through this project, and through plain transformers."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from backbones.compared import Row, share
from backbones.config import BackboneConfig
from backbones.load import load_backbone
from backbones.plain import answer_log_probs, plain_logits, plain_states
from backbones.specimens import SPECIMENS
from backbones.tuned import Tuned
from backbones.weight_level import WeightLevel
from methods.base import InputMethod, LayerMethod
from methods.source import Source
from runners.assemble import refuse_other_count
from tasks.families import family as traits_of

STEPS = 3
SMALL = {"prompt_length": 4, "prefix_length": 3, "rank": 2, "max_source_length": 32, "mlp_width": 8}
LABELS, TAGS = 3, 4


class Sides:
    """One specimen; `answered` gives both sides of every question for one method.

    Raises:
        ValueError: the specimen is refused.
    """

    def __init__(self, name: str, folder: Path) -> None:
        from backbones.admission import admit

        self.family = SPECIMENS[name].family
        self.traits = traits_of(self.family)
        self.config = BackboneConfig(name=name, family=self.family, path=str(folder))
        self.bare = self.load("sequence")
        self.local = bool(admit(self.bare, folder)["window"])
        self.rows = [row(self.family, length, self.bare) for length in (5, 17)]
        self.tagger = self.load("token") if not self.traits.writes else self.bare
        self.untouched = self.ours(Tuned(self.bare), Tuned(self.tagger))

    def load(self, head: str) -> Any:
        more = {"head": head, "n_labels": LABELS if head == "sequence" else TAGS} if not self.traits.writes else {}
        return load_backbone(self.config, cache_root="unused", **more)  # type: ignore[arg-type]

    def answered(self, method: str) -> dict[str, Any]:
        """By question: (difference from plain transformers, change from no method); `idle`: tensors without gradient.

        Raises:
            ValueError: the method is refused here.
        """
        made = build(method, self.bare)
        keeps = isinstance(made, InputMethod)  # the backbone as it is: one serves all of them
        tuned = Tuned(self.bare if keeps else self.load("sequence"), made)
        refuse_other_count(tuned, configured(method, self.bare))
        stir(tuned)
        tagging = None
        if not self.traits.writes:
            tagging = Tuned(self.tagger if keeps else self.load("token"), build(method, self.bare))
            stir(tagging)
        ours = self.ours(tuned, tagging)
        plain = Plain(self.bare if keeps else self.load("sequence"), tuned)
        theirs = plain.text(self.rows, ours["tokens"]) if self.traits.writes else plain.encoder(self.rows, tagging)
        found: dict[str, Any] = {}
        for question, said in theirs.items():
            changes = [share(a, b) for a, b in zip(ours[question], self.untouched[question], strict=True)]
            change = changes[0] if self.local else min(changes)  # the long row may lie past a prompt's windows
            found[question] = (max(share(a, b) for a, b in zip(ours[question], said, strict=True)), change)
        return found | {"idle": idle(tuned, self.rows)}

    @torch.inference_mode()
    def ours(self, tuned: Any, tagging: Any) -> dict[str, Any]:
        """Per question a list over the rows, from one padded batch."""
        backbone = tuned.backbone
        batch = backbone.collate(self.rows)
        if not self.traits.writes:
            tags = tagging.tag(tagging.backbone.collate(self.rows))
            lengths = [len(r.segments[0]) for r in self.rows]
            return {
                "loss": list(tuned.losses(batch)[0]),
                "classify": list(tuned.classify(batch)),
                "tag": [tags[i, :n] for i, n in enumerate(lengths)],
            }
        steps = list(backbone.decode(batch, tuned._evaluated(), STEPS))
        logits = torch.stack([step for step, _ in steps], 1)
        return {
            "loss": list(tuned.losses(batch)[0]),
            "rank": list(tuned.rank(backbone.collate(self.rows, candidates=True))),
            "generate": list(logits.float()),
            "tokens": torch.stack([token for _, token in steps], 1),
        }


class Plain:
    """Plain transformers with what a method makes: embeddings, keys and values, or merged weights."""

    def __init__(self, backbone: Any, tuned: Any) -> None:
        self.backbone, self.tuned, self.method = backbone, tuned, tuned.method
        self.inputs = tuned.inputs if isinstance(self.method, InputMethod) else None
        self.prefix = EagerPrefix(backbone, self.method) if isinstance(self.method, LayerMethod) else None
        if isinstance(self.method, WeightLevel):
            merge_lora(tuned.backbone.model, backbone.model)

    @torch.inference_mode()
    def text(self, rows: Sequence[Row], tokens: Tensor) -> dict[str, list[Tensor]]:
        """Loss, candidate scores and logits of greedy steps, row by row."""
        found: dict[str, list[Tensor]] = {"loss": [], "rank": [], "generate": []}
        for index, example in enumerate(rows):
            scores = torch.stack([self._score(example, choice) for choice in example.choices])
            found["rank"].append(scores)
            found["loss"].append(-scores[example.choices.index(example.target)])
            found["generate"].append(self._logits(example, tokens[index, :-1].tolist())[0])
        return found

    def _score(self, example: Row, answer: list[int]) -> Tensor:
        return answer_log_probs(self._logits(example, answer[:-1]), torch.tensor([answer]))[0]

    def _logits(self, example: Row, fed: list[int]) -> Tensor:
        source, tail = torch.tensor(example.source), torch.tensor(fed, dtype=torch.long)
        if self.prefix is not None:
            return self.prefix.run(lambda: plain_logits(self.backbone, source, tail[None]), len(source))
        if self.inputs is None:
            return plain_logits(self.backbone, source, tail[None])
        if self.backbone.facts.traits.encoder_decoder:
            return plain_logits(self.backbone, self._embeds(source), tail[None])
        size = self.inputs.max_source_length
        embeds = self._embeds(source, torch.arange(len(source)) + size - len(source) if size else None)
        fed = self.inputs.shift(self.backbone.embed(tail)[None], tail[None], torch.full_like(tail, -1)[None])
        return plain_logits(self.backbone, embeds, fed)

    def _embeds(self, ids: Tensor, places: Tensor | None = None) -> Tensor:
        """What the method makes of one row alone: (m + T, d)."""
        assert self.inputs is not None
        ones = torch.ones(1, len(ids), dtype=torch.long)
        rows = None if places is None else places[None]
        return self.inputs(Source(self.backbone.embed(ids)[None], ids[None], ones, rows))[0][0]

    @torch.inference_mode()
    def encoder(self, rows: Sequence[Row], tagging: Any) -> dict[str, list[Tensor]]:
        """Loss, class logits and tag logits, row by row."""
        found: dict[str, list[Tensor]] = {"loss": [], "classify": [], "tag": []}
        several = getattr(self.backbone.model.config, "type_vocab_size", 0) > 1
        for example in rows:
            ids = torch.tensor(example.segments[0])
            types = torch.tensor(example.token_types[0]) if several else None
            states = self._states(ids, types)
            logits = self.tuned.backbone.head(self.backbone.pooled(states[None]))[0]
            found["classify"].append(logits)
            found["loss"].append(F.cross_entropy(logits, torch.tensor(example.label)))
            found["tag"].append(tagging.backbone.head(states))
        return found

    def _states(self, ids: Tensor, types: Tensor | None) -> Tensor:
        if self.prefix is not None:
            return self.prefix.run(lambda: plain_states(self.backbone, ids, types)[0], len(ids))
        if self.inputs is None:
            return plain_states(self.backbone, ids, types)[0]
        embeds, slots = self._embeds(ids), self.inputs.prompt_slots
        types = None if types is None else torch.cat([types.new_zeros(slots), types])
        return plain_states(self.backbone, embeds, types)[0][slots:]


class EagerPrefix:
    """A model's own eager attention with a method's keys and values in front, for one unpadded row.

    Layers are counted by the order in which their self-attentions are called; cross-attention is told by its lengths.
    """

    NAME = "walk_prefix"

    def __init__(self, backbone: Any, method: Any) -> None:
        self.backbone, self.method, self.source = backbone, method, 0
        self.places: dict[str, tuple[str, int]] = {}
        self.summaries: dict[str, Tensor] = {}
        self.encoded: Tensor | None = None
        self.paths = {id(module): path for path, module in backbone.model.named_modules()}
        for path, module in backbone.model.named_modules():
            if re.fullmatch(r"(\D+\.)?\d+", path):
                module.register_forward_pre_hook(self._hook(path), with_kwargs=True)
        if backbone.facts.traits.encoder_decoder:
            backbone.model.encoder.register_forward_hook(self._after_encoder)
        for module in backbone.model.modules():
            if type(module).__name__ == "DisentangledSelfAttention":  # DeBERTa v1 has an attention of its own
                module.forward = self._recombined(module, module.forward)  # type: ignore[method-assign]
        AttentionInterface.register(self.NAME, self._attend)
        AttentionMaskInterface.register(self.NAME, eager_mask)
        for module in backbone.model.modules():
            if getattr(module, "config", None) is not None:
                module.config._attn_implementation = self.NAME

    def run(self, forward: Callable[[], Any], source: int) -> Any:
        """A plain forward whose first `source` tokens are the source."""
        self.source = source
        return forward()

    def _after_encoder(self, _: nn.Module, args: Any, out: Any) -> None:
        self.encoded = out.last_hidden_state.mean(1)

    def _hook(self, path: str) -> Any:
        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            if self.backbone.facts.traits.encoder_decoder and path.startswith("decoder"):
                self.summaries[path] = self.encoded  # type: ignore[assignment]
            else:
                first = not self.backbone.facts.traits.writes
                self.summaries[path] = hidden[:, 0] if first else hidden[:, : self.source].mean(1)

        return take

    def _recombined(self, module: Any, forward: Any) -> Any:
        """DeBERTa's attention as it is, and then with a prefix: softmax over more keys is a weighted mean of both."""
        path = self.paths[id(module)]
        layer = re.match(r"(\D+\.)?\d+", path)
        index = len(self.places)
        self.places[path] = ("encoder", index)

        def attend(hidden_states: Tensor, attention_mask: Tensor, *args: Any, **more: Any) -> Any:
            seen: list[Tensor] = []
            softmax = nn.functional.softmax
            nn.functional.softmax = lambda scores, dim: seen.append(scores) or softmax(scores, dim=dim)  # type: ignore
            try:
                context, _ = forward(hidden_states, attention_mask, *args, **more)
            finally:
                nn.functional.softmax = softmax
            heads = module.transpose_for_scores(module.in_proj(hidden_states)).chunk(3, dim=-1)[0]
            query = heads + module.transpose_for_scores(module.q_bias[None, None, :])
            query = query / (query.shape[-1] * (1 + len(module.pos_att_type))) ** 0.5
            keys, values = self.method.prefix("encoder", index, 1, self.summaries.get(layer[0] if layer else ""))
            more_scores = query @ keys.transpose(1, 2).transpose(-1, -2)
            parts = torch.stack([seen[0].logsumexp(-1), more_scores.logsumexp(-1)]).softmax(0)[..., None]
            own = module.transpose_for_scores(context)
            both = parts[0] * own + parts[1] * (more_scores.softmax(-1) @ values.transpose(1, 2))
            return both.permute(0, 2, 1, 3).flatten(2), None

        return attend

    def _attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **more: Any) -> Any:
        eager = sys.modules[type(module).__module__].eager_attention_forward
        path = self.paths[id(module)]
        if query.shape[2] != key.shape[2]:
            return eager(module, query, key, value, mask, **more)
        stack = self.backbone.facts.traits.stack_of(path)
        count = sum(place[0] == stack for place in self.places.values())
        place = self.places.setdefault(path, (stack, count))
        layer = re.match(r"(\D+\.)?\d+", path)
        keys, values = self.method.prefix(*place, len(query), self.summaries.get(layer[0] if layer else ""))
        length = keys.shape[1]
        if mask is not None:
            mask = F.pad(mask, (length, 0))
        if more.get("position_bias") is not None:
            more["position_bias"] = F.pad(more["position_bias"], (length, 0))
        front = keys.transpose(1, 2).to(key), values.transpose(1, 2).to(value)
        return eager(module, query, torch.cat([front[0], key], 2), torch.cat([front[1], value], 2), mask, **more)


def merge_lora(trained: nn.Module, plain: nn.Module) -> None:
    """W + (alpha / r) B A into the plain model, from the PEFT layers of the trained one."""
    for path, module in trained.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        delta = module.lora_B["default"].weight @ module.lora_A["default"].weight * module.scaling["default"]
        weight = plain.get_submodule(path).weight
        with torch.no_grad():
            weight += (delta.T if getattr(module, "fan_in_fan_out", False) else delta).to(weight)


def configured(method: str, backbone: Any) -> dict[str, Any]:
    """A method's configuration with small sizes."""
    from omegaconf import OmegaConf

    from conf.resolve import CONF, _fill

    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / "method" / f"{method}.yaml"))
    _fill(config, "corrected", backbone.config.name, backbone.config.family)
    config |= {key: value for key, value in SMALL.items() if key in config}
    return config | {"init": None, "init_from": None}


def build(method: str, backbone: Any) -> Any:
    """A method as its YAML has it.

    Raises:
        ValueError: it is refused on this backbone.
    """
    from methods import load

    config = configured(method, backbone)
    problems = load.check(config, backbone.facts)
    if problems:
        raise ValueError(" ".join(problems))
    return load.build(config, backbone.facts, None, torch.Generator().manual_seed(3))


def stir(tuned: Any) -> None:
    """Move every tensor off its start, where much of a forward cannot be seen."""
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for name, group in tuned.trainable().items():
            for parameter in group.values() if name != "head" else ():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    tuned.eval()


def idle(tuned: Any, rows: Sequence[Row]) -> list[str]:
    """Trained tensors that no row's loss moves; deep prefixes are looked at layer by layer."""
    tuned.zero_grad()
    tuned.losses(tuned.backbone.collate(rows))[0].sum().backward()
    found = []
    for name, parameter in ((n, p) for group in tuned.trainable().values() for n, p in group.items()):
        parts = [parameter.grad]
        if name.startswith("tables.") and parameter.grad is not None:
            parts = list(parameter.grad.chunk(tuned.method.depths[name.split(".")[1]], 1))
        found += [f"{name} (part {i})" for i, part in enumerate(parts) if part is None or not part.abs().sum() > 0]
    return found


def row(family: str, length: int, backbone: Any) -> Row:
    """An example whose candidates share tokens and differ in length."""
    generator = torch.Generator().manual_seed(length)
    top = min(backbone.facts.vocab, 380)
    ids = torch.randint(10, top, (length,), generator=generator).tolist()
    a, b, c, d = torch.randint(10, top, (4,), generator=generator).tolist()
    if not traits_of(family).writes:
        types = [0] * (length // 2) + [1] * (length - length // 2)
        return Row(str(length), label=length % LABELS, segments=[ids], token_types=[types], tags=[0] * length)
    end = min(backbone.eos_ids)
    choices = [[a, end], [a, b, end], [c, d, end]]
    return Row(str(length), ids, choices[1], choices)
