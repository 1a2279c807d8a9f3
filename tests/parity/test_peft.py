"""Parity with Hugging Face PEFT: same tensors, same loss and gradients to 1e-5."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch import Tensor

from backbones.tuned import Tuned
from methods.prefix import Prefix
from methods.pt import PT
from tasks.encode import Encoded
from tests.contract import rig

LENGTH = 4


def examples(name: str) -> list[Encoded]:
    """Sources of one length (PEFT numbers positions through left padding), targets of different lengths."""
    generator = torch.Generator().manual_seed(11)
    rows = torch.randint(10, 1000, (3, 7), generator=generator).tolist()
    targets = [[40, 41, 1], [42, 1], [43, 44, 45, 1]]
    if name == "tiny_t5":
        rows = [row[: 7 - i] for i, row in enumerate(rows)]
    return [Encoded(str(i), row, target) for i, (row, target) in enumerate(zip(rows, targets, strict=True))]


def gradients(whole: Tuned, chosen: list[Encoded]) -> tuple[Tensor, Tensor]:
    """Mean loss over all target tokens, and the gradient of the method's only tensor."""
    losses, counts = whole.losses(rig.batch(whole, chosen))
    loss = losses.sum() / counts.sum()
    loss.backward()
    (parameter,) = (p for p in whole.method.parameters())
    assert parameter.grad is not None
    return loss.detach(), parameter.grad


def test_prompt_tuning_on_t5() -> None:
    rows = torch.randn(LENGTH, 64, generator=torch.Generator().manual_seed(1))
    whole = Tuned(
        rig.backbone("tiny_t5"), PT(rig.backbone_config("tiny_t5").sizes(), prompt_length=LENGTH, init_rows=rows)
    ).eval()
    loss, gradient = gradients(whole, examples("tiny_t5"))
    batch = rig.batch(whole, examples("tiny_t5"))
    config = PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=LENGTH, num_transformer_submodules=1)
    other = get_peft_model(rig.backbone("tiny_t5").model, config).eval()
    weight = other.prompt_encoder.default.embedding.weight
    weight.data.copy_(rows)
    labels = batch.target.masked_fill(batch.target_mask == 0, -100)
    theirs = other(input_ids=batch.source, attention_mask=batch.source_mask, labels=labels).loss
    theirs.backward()
    assert torch.allclose(loss, theirs, atol=1e-5) and torch.allclose(gradient, weight.grad, atol=1e-5)


def causal(batch: Any) -> dict[str, Tensor]:
    """Ids, mask and labels of source and target in one row, as PEFT reads them."""
    ids = torch.cat([batch.source, batch.target], 1)
    mask = torch.cat([batch.source_mask, batch.target_mask], 1)
    quiet = torch.full_like(batch.source, -100)
    labels = torch.cat([quiet, batch.target.masked_fill(batch.target_mask == 0, -100)], 1)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def test_prompt_tuning_on_llama() -> None:
    rows = torch.randn(LENGTH, 64, generator=torch.Generator().manual_seed(1))
    facts = rig.backbone_config("tiny_llama").sizes()
    whole = Tuned(rig.backbone("tiny_llama"), PT(facts, prompt_length=LENGTH, init_rows=rows)).eval()
    loss, gradient = gradients(whole, examples("tiny_llama"))
    other = get_peft_model(
        rig.backbone("tiny_llama").model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=LENGTH)
    ).eval()
    weight = other.prompt_encoder.default.embedding.weight
    weight.data.copy_(rows)
    theirs = other(**causal(rig.batch(whole, examples("tiny_llama")))).loss
    theirs.backward()
    assert torch.allclose(loss, theirs, atol=1e-5) and torch.allclose(gradient, weight.grad, atol=1e-5)


def stirred_prefix(name: str) -> Tuned:
    """Our deep prefix without dropout; its table is laid out as PEFT's (position; layer; key, value; head; channel)."""
    facts = rig.backbone_config(name).sizes()
    shift = facts.family == "encoder"
    made = Prefix(
        facts, prefix_length=LENGTH, prefix_dropout=0.0, init_std=0.5, position_shift=shift,
        generator=torch.Generator().manual_seed(2),
    )  # fmt: skip
    return Tuned(rig.backbone(name), made).eval()


def test_prefix_tuning_on_llama() -> None:
    whole = stirred_prefix("tiny_llama")
    whole.backbone.position_offset = LENGTH  # PEFT's cache shifts the text's positions; ours leaves them
    loss, gradient = gradients(whole, examples("tiny_llama"))
    other = get_peft_model(
        rig.backbone("tiny_llama").model, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=LENGTH)
    ).eval()
    weight = other.prompt_encoder.default.embedding.weight
    weight.data.copy_(whole.method.tables["decoder"])
    theirs = other(**causal(rig.batch(whole, examples("tiny_llama")))).loss
    theirs.backward()
    assert torch.allclose(loss, theirs, atol=1e-5) and torch.allclose(gradient, weight.grad, atol=1e-5)


def test_prefix_tuning_on_bert() -> None:
    whole = stirred_prefix("tiny_bert")
    batch = rig.batch(whole, rig.examples("tiny_bert"))
    batch.token_types = None  # PEFT drops them
    other = get_peft_model(
        rig.backbone("tiny_bert").model, PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=LENGTH)
    ).eval()
    weight = other.prompt_encoder.default.embedding.weight
    weight.data.copy_(whole.method.tables["encoder"])
    states = other(input_ids=batch.source, attention_mask=batch.source_mask).last_hidden_state
    logits = whole.backbone.head(other.base_model.pooler(states))
    theirs = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
    losses, _ = whole.losses(batch)
    losses.sum().backward()
    ours = whole.method.tables["encoder"].grad
    theirs.sum().backward()
    assert torch.allclose(losses, theirs, atol=1e-5) and torch.allclose(ours, weight.grad, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny_t5", "tiny_llama"])
def test_lora_is_untouched_by_the_wrapper(name: str) -> None:
    whole = rig.tuned("lora", name)
    targets = ["q", "v"] if name == "tiny_t5" else ["q_proj", "v_proj"]
    other = get_peft_model(rig.backbone(name).model, LoraConfig(r=2, lora_alpha=16, target_modules=targets)).eval()
    trained = {n: p for n, p in other.named_parameters() if p.requires_grad}
    ours = rig.parameters(whole)
    assert {n.removeprefix("base_model.model.") for n in trained} == set(ours)
    for n, p in trained.items():
        p.data.copy_(ours[n.removeprefix("base_model.model.")])
    batch = rig.batch(whole, examples(name))
    losses, counts = whole.losses(batch)
    loss = losses.sum() / counts.sum()
    loss.backward()
    if name == "tiny_t5":
        labels = batch.target.masked_fill(batch.target_mask == 0, -100)
        theirs = other(input_ids=batch.source, attention_mask=batch.source_mask, labels=labels).loss
    else:
        theirs = other(**causal(batch)).loss
    theirs.backward()
    assert torch.allclose(loss, theirs, atol=1e-5)
    for n, p in trained.items():
        assert torch.allclose(p.grad, ours[n.removeprefix("base_model.model.")].grad, atol=1e-5), n
