"""How many numbers stand beside the frozen backbone where a finished run answers: a page of a paper asks for it."""

from __future__ import annotations

from typing import Any

import torch

from backbones.batch import Batch
from methods.base import InputMethod, LayerMethod
from methods.source import Prompts


def deployed_parameters(tuned: Any, batch: Batch) -> int:
    """What is carried to answer with, the head left out.

    Folded where this project folds: one prompt for all inputs is its m vectors, offsets by position are their table
    (s, d), offsets by token a private table (V, d); a prefix that no input changes is its keys and values. Else the
    tensors as they are stored (prompts made from the input, gates, modules inside the model: LoRA could be merged).

    Args:
        tuned: the method on its backbone.
        batch: one example; its prompt tells whether prompts are shared.
    """
    method = tuned.method
    if isinstance(method, LayerMethod) and tuned.inputs is not method and not method.needs_summary:
        facts = tuned.backbone.facts
        return 2 * sum(facts.stacks.values()) * method.prefix_length * facts.kv_heads * facts.head_dim
    whole = not isinstance(method, InputMethod) or tuned.inputs is not method
    if whole or not _shared(tuned, method, batch):
        return sum(t.numel() for name, t in tuned.state().items() if not name.startswith("head."))
    table = tuned.backbone.table
    width = table.shape[1]
    rows = method.prompt_slots
    with torch.no_grad():
        if method.max_source_length and method.position_offsets(1) is not None:
            rows += method.max_source_length
        if method.token_offset(table[:1]) is not None:
            rows += len(table)
    return int(rows * width)


def _shared(tuned: Any, method: InputMethod, batch: Batch) -> bool:
    """Whether one prompt stands in front of every input: by the contract its shape says so."""
    if not method.prompt_slots:
        return True
    training = tuned.training
    tuned.eval()
    with torch.no_grad():
        made = method.prompts(tuned.backbone.source(batch))
    tuned.train(training)
    return not isinstance(made, Prompts) and made.dim() == 2
