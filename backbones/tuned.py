"""The one place where a method meets a backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import Backbone, NoPrompt
from backbones.batch import Batch
from backbones.fold import FoldCache
from methods.base import InputMethod, Method

HEAD = "head."  # prefix of the head's tensors in a saved state


class Tuned(nn.Module):
    """A frozen backbone with a method on it.

    Args:
        backbone: frozen; some methods change it in place (it then says ``changed``).
        method: attaches itself to the backbone; None = zero-shot.
    """

    def __init__(self, backbone: Backbone, method: Method | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.method: Any = method
        found = method.attach(backbone) if method is not None else None
        self.inputs: InputMethod = NoPrompt() if found is None else found
        if self.inputs.answers_together and (backbone.changed or not hasattr(backbone, "head_logits")):
            why = "the method changes the model too" if backbone.changed else "it has no language-model head"
            raise ValueError(
                f"several prompts of {type(method).__name__} answer together, and on backbone {backbone.config.name!r} "
                f"there is nothing to weight: {why}. Choose a T5 or decoder-only backbone."
            )
        self.fold = FoldCache()
        self.stays = False  # the method's tensors stay as they were drawn; a head is trained all the same

    def train(self, mode: bool = True) -> Tuned:
        self.fold.evaluation()
        return super().train(mode)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Summed target cross-entropy over the whole vocabulary (B,) and number of target tokens (B,).

        Encoders: classification cross-entropy per example (squared error for regression), or summed over an
        example's tagged words, with counts.
        """
        return self.backbone.losses(batch, self.inputs)

    def _evaluated(self) -> InputMethod:
        """The input-level method as evaluation runs it: folded where it can be (not while its dropout is on)."""
        return self.inputs if self.training else self.fold(self.inputs, lambda: self.backbone.table)

    @torch.inference_mode()
    def rank(self, batch: Batch) -> Tensor:
        """Exact log-probability of every candidate's whole token sequence, (B, C); -inf where there is none."""
        return self.backbone.rank(batch, self._evaluated())

    @torch.inference_mode()
    def generate(self, batch: Batch, max_new_tokens: int) -> list[list[int]]:
        """Greedy decoding with a cache; EOS and what follows are cut."""
        return self.backbone.generate(batch, self._evaluated(), max_new_tokens)

    @torch.inference_mode()
    def classify(self, batch: Batch) -> Tensor:
        """Encoders: logits (B, n_labels); multiple choice (B, C); regression (B, 1)."""
        return self.backbone.classify(batch, self._evaluated())

    @torch.inference_mode()
    def tag(self, batch: Batch) -> Tensor:
        """Encoders: logits (B, T, n_tags)."""
        return self.backbone.tag(batch, self._evaluated())

    def trainable(self) -> dict[str, dict[str, nn.Parameter]]:
        """What training may change: group name (as under ``method.lr``; ``head`` for a task head) -> its tensors."""
        return {name: part for name, part in self._groups().items() if name == "head" or not self.stays}

    def leave_as_drawn(self) -> None:
        """Train none of the method's tensors (a control: what a random prompt does)."""
        self.stays = True
        for part in self._groups().values():
            for parameter in part.values():
                parameter.requires_grad_(False)
        if self.backbone.head is not None:
            self.backbone.head.requires_grad_(True)

    def _groups(self) -> dict[str, dict[str, nn.Parameter]]:
        groups: dict[str, dict[str, nn.Parameter]] = {}
        if self.method is not None:
            names = {id(parameter): name for name, parameter in self.method.named_parameters()}
            for group, parameters in self.method.groups().items():
                groups[group] = {names[id(p)]: p for p in parameters}
        if self.backbone.head is not None:
            groups["head"] = {HEAD + name: p for name, p in self.backbone.head.named_parameters()}
        return groups

    def state(self) -> dict[str, Tensor]:
        """Copies of the trained tensors (method and head) and the method's buffers, on the CPU, for safetensors."""
        tensors = self._kept()
        return {name: p.detach().cpu().clone().contiguous() for name, p in sorted(tensors.items())}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take saved tensors back.

        Raises:
            ValueError: names or shapes are not this method's.
        """
        own = self._kept()
        missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
        wrong = [
            f"{name}: {tuple(state[name].shape)} saved, {tuple(own[name].shape)} here"
            for name in sorted(set(own) & set(state))
            if own[name].shape != state[name].shape
        ]
        if missing or unknown or wrong:
            raise ValueError(
                f"the saved tensors are not this method's: missing {missing or 'none'}, unknown {unknown or 'none'}, "
                f"other shapes {wrong or 'none'}. Build the method with the options of the run that saved them."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])
        if self.method is not None:
            self.method.restored()
        self.train(self.training)  # what was kept of the old ones for an evaluation is made anew

    def _kept(self) -> dict[str, Tensor]:
        """The trained tensors, and those of the method that are drawn or found and then stay (its buffers)."""
        tensors: dict[str, Tensor] = {name: p for group in self._groups().values() for name, p in group.items()}
        if self.method is not None:
            trained = {name for name, _ in self.method.named_parameters()}
            kept = self.method.state_dict(keep_vars=True) if list(self.method.buffers()) else {}
            tensors |= {name: t for name, t in kept.items() if name not in trained}
        return tensors

    def counts(self) -> dict[str, int]:
        """Real numbers of parameters: ``method``, ``head`` and ``backbone`` (frozen ones, without the head)."""
        groups = self.trainable()
        head = sum(p.numel() for p in groups.pop("head", {}).values())
        method = sum(p.numel() for group in groups.values() for p in group.values())
        own = {id(p) for group in groups.values() for p in group.values()}
        inside = sum(p.numel() for p in self.backbone.model.parameters() if id(p) in own)
        frozen = self.backbone.weights - inside
        return {"method": method, "head": head, "backbone": frozen}
