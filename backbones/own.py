"""A model's own pieces, found in the model: the body that makes hidden states, and all that its forward does after it.

Calling ``lm_head`` alone leaves out what a model does with the logits (Granite and Cohere scale them, Gemma 2 caps
them, T5 v1.0 scales the states before). `own_head` runs the model's own forward over states that are there already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

POSITION_TABLES = ("wpe", "embed_positions", "position_embeddings")  # names of learned or stored positions


class _States:
    """What a body returns, with the states alone; everything else about it is None."""

    def __init__(self, hidden: Tensor) -> None:
        self.last_hidden_state = hidden

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def __getitem__(self, index: int) -> Tensor | None:
        return self.last_hidden_state if index == 0 else None


class _Stand(nn.Module):
    """Stands where a model's body stands and gives states that were made before."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *args: Any, **kwargs: Any) -> _States:
        return _States(self.hidden)


def body_of(model: Any) -> tuple[nn.Module, str]:
    """(owner, name) of the module that makes the states which a language model's head reads.

    Raises:
        ValueError: the model has none that transformers can name.
    """
    body = model.get_decoder()
    for path, module in model.named_modules():
        if module is body and path:
            owner, _, name = path.rpartition(".")
            return model.get_submodule(owner), name
    raise ValueError(
        f"{type(model).__name__} keeps its layers in no module of its own, so its head cannot be called on hidden "
        "states; choose a model with a body and a head (docs/backbones.md lists those that were tried)."
    )


def own_head(model: Any) -> Callable[[Tensor], Tensor]:
    """(N, d) -> (N, V): everything the model's forward does after its body, whatever that is."""
    owner, name = body_of(model)
    two_stacks = bool(getattr(model.config, "is_encoder_decoder", False))

    def head(hidden: Tensor) -> Tensor:
        states = hidden[:, None]
        body = owner._modules[name]
        owner._modules[name] = _Stand(states)
        try:
            if two_stacks:
                out = model(encoder_outputs=(states,), decoder_inputs_embeds=states, use_cache=False, return_dict=True)
            else:
                out = model(inputs_embeds=states, use_cache=False, return_dict=True)
        finally:
            owner._modules[name] = body
        return out.logits[:, 0]

    return head


def position_limit(model: nn.Module, facts: Any) -> int:
    """The longest row that a decoder-only model can take, 0 = any.

    A table of positions ends; frequencies that change with the longest row of a batch (rotary types `dynamic` and
    `longrope`) would let one row change another one's answer.
    """
    if not facts.traits.continues:
        return 0
    settings: Any = model.config
    rope = getattr(settings, "rope_parameters", None) or {}
    kinds = rope.values() if all(isinstance(value, dict) for value in rope.values()) else [rope]
    for kind in kinds:
        if kind.get("rope_type") in ("dynamic", "longrope"):
            own = kind.get("original_max_position_embeddings")
            return int(own or getattr(settings, "original_max_position_embeddings", 0) or facts.max_positions)
    tables = [path for path, module in model.named_modules() if isinstance(module, nn.Embedding)]
    tables += [path for path, _ in model.named_buffers()]
    learned = any(path.rsplit(".", 1)[-1] in POSITION_TABLES for path in tables)
    return int(facts.max_positions) if learned else 0
