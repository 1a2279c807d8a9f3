"""Prompts of finished runs, for methods that mix them (`method.sources={<name>: <run id>, ...}`)."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from conf.compose import typed_record
from conf.paths import ledger_of
from conf.schema import Config
from methods import load as methods
from methods.base import InputMethod
from methods.source import Prompts, Source
from runners.changed import refuse_changed
from runners.same_backbone import other_backbone


class WrongSource(ValueError):
    """A run whose prompt cannot be a source here; the message says why."""


def source_prompts(config: Config, backbone: Any) -> Tensor | None:
    """(t, m, d) in the order of their names; None where the method has no sources.

    Raises:
        WrongSource: a run is not there or not done, has no shared prompt, another backbone or length or the same task,
            or its method or model has changed since.
    """
    runs = dict(config.method.get("sources") or {})
    if not runs:
        return None
    found = {name: _prompt(config, backbone, name, str(run)) for name, run in sorted(runs.items())}
    length = int(config.method.get("prompt_length") or 0)
    wrong = [f"{name} {tuple(p.shape)}" for name, p in found.items() if len(p) != length]
    if wrong:
        raise WrongSource(
            f"method.sources: {', '.join(wrong)} and method.prompt_length={length}: sources have as many vectors as "
            "the target; set method.prompt_length to theirs"
        )
    return torch.stack(list(found.values()))


def _prompt(config: Config, backbone: Any, name: str, run_id: str) -> Tensor:
    where = f"method.sources.{name}={run_id}"
    try:
        run = ledger_of(config).find(run_id.strip())
    except KeyError as error:
        raise WrongSource(f"{where}: {error.args[0]}") from None
    record, file = run.record(), run / "method.safetensors"
    if record is None or record["status"] != "done" or not file.exists():
        raise WrongSource(f"{where}: that run is not done, or its method.safetensors is not there")
    try:
        refuse_changed(run, record)
    except ValueError as error:
        raise WrongSource(f"{where}: {error}") from None
    other = typed_record(record["config"])
    apart = other_backbone(record, config, backbone)
    if apart:
        raise WrongSource(f"{where}: {apart}")
    if other.task.name == config.task.name and not config.method.get("allow_same_task"):
        raise WrongSource(
            f"{where}: that run is of this task, {other.task.name}; take others, or set method.allow_same_task=true"
        )
    method = methods.build(other.method, backbone.facts, None, torch.Generator().manual_seed(other.seed))
    if not isinstance(method, InputMethod) or not method.prompt_slots:
        raise WrongSource(f"{where}: method={other.method['name']} puts no prompt in front of the tokens")
    whole = methods.method_class(config.method.get("target"), config.method.get("path"))
    if getattr(whole, "answers_together", False) and _shifts(method):
        raise WrongSource(
            f"{where}: method={other.method['name']} changes the tokens too, so that its prompt alone would not answer "
            "as that run does; take runs of a method with a prompt alone (pt, spot, residual_pt, ulpt)"
        )
    tensors = {key: t for key, t in load_file(file).items() if not key.startswith("head.")}
    method.load_state_dict(tensors, strict=False)
    method.restored()
    nothing = torch.zeros(1, 1, dtype=torch.long)
    made = [_read(method, backbone, nothing + token) for token in (0, 1)]
    # one prompt for each example, or one of several, is told by its shape: two examples may have the same by chance
    if any(prompts.index is not None for prompts in made) or not torch.equal(made[0].vectors, made[1].vectors):
        raise WrongSource(f"{where}: the prompt of method={other.method['name']} differs from example to example")
    return made[0].vectors[0]


def _shifts(method: InputMethod) -> bool:
    """Whether it adds to tokens."""
    return any(getattr(type(method), n) is not getattr(InputMethod, n) for n in ("position_offsets", "token_offset"))


def _read(method: InputMethod, backbone: Any, ids: Tensor) -> Prompts:
    """The prompts of a one-token source."""
    embeds = backbone.embed(ids.to(backbone.device)).cpu().float()
    with torch.no_grad():
        width = embeds.shape[2]
        source = Source(embeds, ids, torch.ones_like(ids), reader=lambda s: s.embeds[:, 0, :width])
        prompts = method.eval().read(source)
    assert prompts is not None
    return prompts
