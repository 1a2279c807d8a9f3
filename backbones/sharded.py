"""A frozen backbone whose layers lie in parts on several processes (`runner.sharding=fsdp`).

`fully_shard` (torch's FSDP2) holds each layer: a process keeps 1/N of its weights and borrows the rest while the layer
works. Embedding, head and everything outside the layers stay whole everywhere, and so do a method's tensors, which are
put on afterwards. The root is not wrapped: the families call submodules (an encoder, a body), never the root.

Borrowing is an exchange in which all processes take part, but they do not do the same work: batches, decoded tokens and
remembered features differ. So processes keep in step by stacks: before a stack (a body, an encoder, a decoder) runs
they agree on which one does; whoever wants another one, or has nothing to do (`rest`), lends its parts meanwhile.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from backbones.admission import BOUNDS
from backbones.compared import share
from backbones.errors import BackboneError, first_line
from backbones.memory import give_large_blocks_back


def processes() -> int:
    """Processes of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class Shards:
    """The layers that are held in parts, by the stack that runs them.

    Args:
        stacks: the modules that are called.
        calls: for each stack its layers in the order in which one pass calls them.
        device: of the flags that are exchanged.

    Attributes:
        backward: a backward pass runs; a process that fails in it has left the exchange (see runners/train.py).
    """

    def __init__(self, stacks: list[nn.Module], calls: list[list[Any]], device: torch.device) -> None:
        self.calls, self.device = calls, device
        self.running: int | None = None  # the stack that runs here
        self.called = 0  # its layers that were called
        self.backward = False
        for index, stack in enumerate(stacks):
            stack.register_forward_pre_hook(lambda *_, index=index: self._turn(index))
            stack.register_forward_hook(lambda *_: self._ended(), always_call=True)
        for layer in {id(layer): layer for called in calls for layer in called}.values():
            layer.register_forward_pre_hook(self._count)

    @property
    def layers(self) -> list[Any]:
        """Each layer once."""
        return list({id(layer): layer for called in self.calls for layer in called}.values())

    def rest(self) -> None:
        """Lend this process's parts until every process rests."""
        while (chosen := self._agreed(len(self.calls))) < len(self.calls):
            self._lend(self.calls[chosen])

    def all_well(self, failed: bool = False) -> bool:
        """Rest; then whether no process has failed."""
        self.rest()
        told = torch.tensor(int(failed), device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return not bool(told)

    def _turn(self, wanted: int) -> None:
        """Before a stack runs: lend for those that others want first."""
        while (chosen := self._agreed(wanted)) != wanted:
            self._lend(self.calls[chosen])
        self.running, self.called = wanted, 0

    def _agreed(self, wanted: int) -> int:
        """The first of the stacks that processes want; resting counts as the last."""
        told = torch.tensor(wanted, device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MIN)
        return int(told)

    def _count(self, layer: nn.Module, _: Any) -> None:
        if self.running is None:  # recomputed in a backward pass
            return
        expected = self.calls[self.running]
        if self.called >= len(expected) or expected[self.called] is not layer:
            raise BackboneError(
                f"sharding: layer {type(layer).__name__} was called out of its order (call {self.called + 1} of "
                f"{len(expected)}); leave runner.sharding out for this backbone"
            )
        self.called += 1

    def _ended(self) -> None:
        """After a stack: where it failed half-way the others wait for the rest of its layers."""
        if self.running is None:  # it never began
            return
        left, self.running = self.calls[self.running][self.called :], None
        self._lend(left)

    @staticmethod
    def _lend(layers: list[Any]) -> None:
        for layer in layers:
            layer.unshard()
            layer.reshard()


def shard(backbone: Any, device: torch.device) -> None:
    """Leave this process 1/N of every layer's weights (changes the model in place; all processes call it).

    Args:
        backbone: whole and admitted, on the CPU or on `device`; no method is on it.
        device: where it is going to work.

    Raises:
        BackboneError: its layers cannot be told from outside, or the answers are not those of the whole model.
    """
    from backbones.prefix_proof import answers

    give_large_blocks_back()
    backbone.eval()
    stacks = _stacks(backbone)
    with torch.no_grad():
        before, calls = _watched(backbone, stacks)
    try:
        _wrap(calls, device)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise BackboneError(
            f"backbone {backbone.config.name!r} cannot be held in parts ({first_line(error)}); leave runner.sharding "
            "out"
        ) from error
    backbone.to(device)
    backbone.shards = Shards(stacks, calls, device)
    with torch.no_grad():
        difference = share(answers(backbone).to(before.device), before)
    if not backbone.shards.all_well(difference > BOUNDS[backbone.dtype]):
        raise BackboneError(
            f"backbone {backbone.config.name!r} is refused in parts: its answers differ from the whole model's by "
            f"{difference:.2g} of their scale here (at most {BOUNDS[backbone.dtype]:g} is allowed); leave "
            "runner.sharding out"
        )


def _stacks(backbone: Any) -> list[nn.Module]:
    if backbone.facts.traits.encoder_decoder:
        return [backbone.model.encoder, backbone.model.decoder]
    return [getattr(backbone, "body", backbone.model)]


def _watched(backbone: Any, stacks: list[nn.Module]) -> tuple[torch.Tensor, list[list[Any]]]:
    """Two rows' answers, and the layers of every stack in the order of their calls.

    Raises:
        BackboneError: there are no layers, or some are called outside of the stacks.
    """
    from backbones.prefix_proof import answers

    calls: list[list[Any]] = [[] for _ in stacks]
    layers = [m for m in backbone.model.modules() if isinstance(m, GradientCheckpointingLayer)]
    inner = {id(m) for layer in layers for m in layer.modules() if m is not layer}
    layers = [layer for layer in layers if id(layer) not in inner]
    now: list[int] = []  # the stack that runs

    def called(layer: nn.Module, _: Any) -> None:
        if now:
            calls[now[-1]].append(layer)

    def ended(*_: Any) -> None:
        now.pop()

    hooks = [layer.register_forward_pre_hook(called) for layer in layers]
    hooks += [s.register_forward_pre_hook(lambda *_, i=i: now.append(i)) for i, s in enumerate(stacks)]
    hooks += [s.register_forward_hook(ended) for s in stacks]
    try:
        said = answers(backbone)
    finally:
        for hook in hooks:
            hook.remove()
    seen = {id(layer) for found in calls for layer in found}
    if not all(calls) or seen != {id(layer) for layer in layers}:
        raise BackboneError(
            f"backbone {backbone.config.name!r} ({type(backbone.model).__name__}) cannot be held in parts: "
            f"{len(seen)} of {len(layers)} layers were seen to work; leave runner.sharding out"
        )
    return said, calls


def _wrap(calls: list[list[Any]], device: torch.device) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes(),))
    for layer in {id(layer): layer for found in calls for layer in found}.values():
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        # the whole weights are made once, here: made under inference mode first, they could not be trained through
        layer.unshard()
        layer.reshard()


__all__ = ["Shards", "processes", "shard"]
