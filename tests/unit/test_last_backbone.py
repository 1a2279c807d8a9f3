"""A run of a sweep gets the backbone of the run before, and nothing that this one left on it."""

from __future__ import annotations

import torch

from conf.compose import compose, typed
from runners.assemble import assemble
from runners.data import load_data
from runners.last_backbone import LastBackbone

RUN = ["task=superglue/cb", "backbone=tiny_bert", "data=fixture", "runner=smoke", "protocol=carved", "method=pt"]


def test_a_head_comes_without_the_gradients_values_and_modes_of_the_run_before() -> None:
    config, kept = typed(compose(RUN)), LastBackbone()
    first = kept.get(config, torch.float32, torch.device("cpu"))
    start = {name: tensor.clone() for name, tensor in first.head.state_dict().items()}
    for parameter in first.head.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))  # as after a loss that was not finite
        parameter.data.zero_()
        parameter.requires_grad_(False)
    second = kept.get(config, torch.float32, torch.device("cpu"))
    assert second is first
    assert all(p.grad is None and p.requires_grad for p in second.head.parameters())
    assert all(torch.equal(tensor, start[name]) for name, tensor in second.head.state_dict().items())


def test_a_run_after_one_that_ended_in_the_middle_of_a_step_has_the_gradients_of_its_own() -> None:
    config = typed(compose(RUN))

    def gradients() -> list[torch.Tensor]:
        parts = assemble(config, torch.device("cpu"), load_data(config))
        batch = parts.tuned.backbone.collate([parts.splits["train"].encoded[i] for i in range(3)])
        parts.tuned.eval().losses(batch)[0].sum().backward()  # and no optimiser takes it
        return [p.grad.clone() for group in parts.tuned.trainable().values() for p in group.values()]

    for one, two in zip(gradients(), gradients(), strict=True):
        assert bool(one.any()) and torch.equal(one, two)
