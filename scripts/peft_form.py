"""What of a finished run PEFT's format can hold: an adapter's config and tensors, or the reason why there is none.

Asked of what the method does to the backbone, never of its name: one prompt for all inputs is PEFT's prompt tuning
(whatever it is composed of), one prefix for all inputs its prefix tuning, and what PEFT put into the model is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backbones.peft_methods import Injected
from backbones.weight_level import FullFineTuning, WeightLevel
from methods.base import LayerMethod
from tasks.encode import Encoded
from tasks.families import Family

MANY = 24  # texts of many lengths for which a prompt must be the same, before it is called one for all
SOURCES = ([5, 9, 11, 40, 7], [6, 12, 8, 3, 9, 21, 30, 4, 17])  # token ids: any text will do


class Inexpressible(ValueError):
    """PEFT's format has no place for what a run learned; the message says what has none."""


@dataclass
class PeftForm:
    """An adapter.

    Attributes:
        config: PEFT's.
        tensors: as `adapter_model.safetensors` names them.
        table: the folded embedding table (V, d) that goes with it; None = the model's own is read.
    """

    config: Any
    tensors: dict[str, Tensor]
    table: Tensor | None = None


def form_of(finished: Any) -> PeftForm:
    """The adapter of a finished run.

    Raises:
        Inexpressible: PEFT has no form for it.
    """
    tuned = finished.tuned
    method = tuned.method
    if not finished.config.backbone.traits.writes:
        raise _refused(finished, "an encoder's answers come from a head of this project, which an adapter leaves out")
    if isinstance(method, Injected):
        return injected(finished)
    if isinstance(method, WeightLevel):
        every = isinstance(method, FullFineTuning)
        raise _refused(
            finished,
            "every weight is trained: the adapter would be the model"
            if every
            else "its modules are this project's own, and PEFT has no adapter that computes what they do",
        )
    if isinstance(method, LayerMethod):
        return prefix(finished)
    if tuned.backbone.changed or tuned.inputs is not method:
        raise _refused(finished, "it works inside the model, where PEFT has no adapter that computes what it does")
    return prompt(finished)


def _refused(finished: Any, why: str) -> Inexpressible:
    name = finished.record["method"]
    return Inexpressible(
        f"run {finished.run.id} (method={name} on a {finished.config.backbone.family} backbone) has no exact form in "
        f"PEFT: {why}. Its tensors are {finished.run / 'method.safetensors'}; scripts/predict.py answers with them"
    )


def prompt(finished: Any) -> PeftForm:
    """Prompt vectors in front of the (encoder's) input: one sub-module, not PEFT's default of two on T5."""
    from peft import PromptTuningConfig

    backbone, reads = finished.tuned.backbone, finished.tuned.inputs
    vectors = one_prompt(finished)
    if reads.max_source_length and reads.position_offsets(1) is not None:
        raise _refused(
            finished,
            "it adds an offset to every source token by its position; PEFT's prompt tuning puts vectors in front alone",
        )
    table = folded(finished)
    facts = backbone.facts
    config = PromptTuningConfig(
        **base_settings(finished), num_virtual_tokens=len(vectors), token_dim=facts.width, num_layers=facts.layers,
        num_attention_heads=facts.heads, num_transformer_submodules=1,
    )  # fmt: skip
    return PeftForm(config, {"prompt_embeddings": vectors}, table)


def one_prompt(finished: Any) -> Tensor:
    """The prompt that stands in front of every input, (m, d).

    Raises:
        Inexpressible: there is none, or it depends on the input.
    """
    backbone, reads = finished.tuned.backbone, finished.tuned.inputs
    if not reads.prompt_slots:
        raise _refused(finished, "no prompt stands in front of its input")
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 60, (MANY,), generator=generator).tolist()
    texts = [torch.randint(5, backbone.facts.vocab, (n,), generator=generator).tolist() for n in lengths]
    with torch.no_grad():
        read = [reads.read(backbone.source(backbone.collate([Encoded("a", source=ids)]))) for ids in texts]
    one = read[0].vectors
    if any(p.index is not None or p.mask is not None or not torch.equal(p.vectors, one) for p in read):
        raise _refused(finished, "its prompt is made from each input, and PEFT's prompt tuning has one for all")
    return read[0].vectors[0].detach()


def folded(finished: Any) -> Tensor | None:
    """The embedding table with the method's offsets by token in it, (V, d); None = it has none."""
    backbone, reads = finished.tuned.backbone, finished.tuned.inputs
    with torch.no_grad():
        table = backbone.table
        added = reads.token_offset(table)
        if added is None:
            return None
        if finished.config.backbone.traits.encoder_decoder:
            raise _refused(
                finished,
                "it adds an offset to every source token, and T5's decoder reads the table it would be folded into",
            )
        if not reads.offset_generated:
            raise _refused(
                finished, "it adds an offset to source tokens and none to answer tokens, which read one table"
            )
        return (table + added.to(table.dtype)).detach()


def prefix(finished: Any) -> PeftForm:
    """Keys and values of every layer in PEFT's order (position; layer; key, value; head; channel).

    PEFT counts the text's positions from l on and ours (but for PEFT's own method) from 0; rotary attention sees only
    differences, so turning the prefix's keys on by l positions makes both the same.
    """
    from peft import PrefixTuningConfig
    from transformers.models.llama.modeling_llama import rotate_half

    backbone, method = finished.tuned.backbone, finished.tuned.method
    if method.needs_summary:
        raise _refused(finished, "gates make its keys and values from each input, and PEFT's prefix is one for all")
    if not finished.config.backbone.traits.continues:
        raise _refused(finished, "it enters T5's encoder too" if _in_encoder(method) else "PEFT's own cannot be loaded")
    facts, length = backbone.facts, method.prefix_length
    turn = getattr(getattr(backbone.model, "model", None), "rotary_emb", None)
    if turn is None and length > backbone.position_offset:
        raise _refused(finished, "PEFT moves the text by l positions, which only rotary attention can make up for")
    with torch.no_grad():
        parts = []
        for layer in range(facts.layers):
            keys, values = (pair[0] for pair in method.prefix("decoder", layer, 1))  # (l, kv_heads, head_dim)
            if turn is not None and length > backbone.position_offset:
                place = torch.tensor([[length - backbone.position_offset]], device=backbone.device)
                cosine, sine = turn(torch.zeros(1, 1, facts.width, device=backbone.device), place)
                keys = keys * cosine[0] + rotate_half(keys) * sine[0]
            parts += [keys, values]
        rows = torch.stack(parts, 1).flatten(1)
    config = PrefixTuningConfig(
        **base_settings(finished), num_virtual_tokens=length, num_layers=facts.layers,
        token_dim=facts.kv_heads * facts.head_dim, num_attention_heads=facts.kv_heads, num_transformer_submodules=1,
    )  # fmt: skip
    return PeftForm(config, {"prompt_embeddings": rows})


def _in_encoder(method: LayerMethod) -> bool:
    return method.prefix("encoder", 0, 1)[0].shape[1] > 0


def injected(finished: Any) -> PeftForm:
    """LoRA and IA3 as PEFT itself would have saved them."""
    method, model = finished.tuned.method, finished.tuned.backbone.model
    from backbones.projections import find

    family = finished.config.backbone.family
    config = method.settings({name: [_bare(path) for path, _ in find(model, family, name)] for name in method.wanted()})
    for name, value in base_settings(finished).items():
        setattr(config, name, value)
    tensors = {f"base_model.model.{name.replace('.default', '')}": tensor for name, tensor in method.tensors.items()}
    return PeftForm(config, tensors)


def _bare(path: str) -> str:
    """The path of a layer before PEFT wrapped it."""
    return path.removesuffix(".base_layer")


def base_settings(finished: Any) -> dict[str, Any]:
    from peft import TaskType

    backbone = finished.config.backbone
    kind = TaskType.SEQ_2_SEQ_LM if backbone.traits.encoder_decoder else TaskType.CAUSAL_LM
    return {"task_type": kind, "base_model_name_or_path": backbone.hub or backbone.name}


def difference(finished: Any, folder: Any) -> float:
    """The largest difference in log-probability between a run and its adapter, loaded by PEFT on the plain model.

    Over every token of the vocabulary behind two texts, and the answer of three tokens; as a part of the largest one,
    whose rounding it grows with (float32's own step is 1e-7 of it).
    """
    from peft import PeftModel

    from backbones.load import load_backbone
    from conf.paths import cache_root

    backbone, config = finished.tuned.backbone, finished.config
    plain = load_backbone(
        config.backbone, dtype=backbone.dtype, device=backbone.device, cache_root=cache_root(config)
    ).model
    theirs = PeftModel.from_pretrained(with_table(plain, folder), str(folder)).eval()
    answer, vocabulary = [8, 3, 2], list(range(min(backbone.facts.vocab, 4096)))
    worst, largest = 0.0, 1.0
    for ids in SOURCES:
        encoded = Encoded("a", source=ids, target=answer, choices=[[token] for token in vocabulary])
        first = finished.tuned.rank(backbone.collate([encoded], candidates=True))[0]
        with torch.no_grad():
            whole = finished.tuned.losses(backbone.collate([encoded]))[0][0]
            logits = _logits(theirs, config.backbone.traits, ids, answer, backbone.device)
        seen = logits.float().log_softmax(-1)
        wanted = seen[torch.arange(len(answer)), answer].sum()
        worst = max(worst, float((seen[0, vocabulary] - first).abs().max()), float((wanted + whole).abs()))
        largest = max(largest, float(first.abs().max()), float(whole.abs()))
    return worst / largest


def _logits(model: Any, family: Family, ids: list[int], answer: list[int], device: Any) -> Tensor:
    """Logits at every token of the answer, (L, V)."""
    if family.encoder_decoder:
        given = {"input_ids": torch.tensor([ids], device=device), "labels": torch.tensor([answer], device=device)}
        return model(**given).logits[0]
    return model(input_ids=torch.tensor([ids + answer], device=device)).logits[0, -len(answer) - 1 : -1]


def with_table(model: Any, folder: Any) -> Any:
    """A plain model that reads the folded table beside an adapter, where there is one; its head keeps its own."""
    from safetensors.torch import load_file

    path = folder / "embed_tokens.safetensors"
    if path.exists():
        table = load_file(path)["weight"]
        model.config.tie_word_embeddings = False  # or whoever ties weights later gives the head this table
        model.set_input_embeddings(torch.nn.Embedding.from_pretrained(table).to(table.device))
    return model
