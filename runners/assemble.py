"""From a configuration to the parts of a run: encoded splits, a frozen backbone, a method on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from backbones.compiled import as_written, compile_layers
from backbones.config import Facts
from backbones.dropout import set_hidden_dropout
from backbones.init import prompt_rows
from backbones.tuned import Tuned
from conf.capabilities import capabilities
from conf.schema import Config
from methods import load as methods
from runners import controls
from runners.data import encode_splits
from runners.errors import Refused
from runners.evaluate import Split
from runners.init_from import start_from
from runners.last_backbone import LAST_BACKBONE, held_backbone
from runners.source_prompts import WrongSource, source_prompts
from tasks.kinds import kind_of
from tasks.task import TaskData
from tasks.templates import label_words


@dataclass
class Parts:
    """What a run is made of."""

    data: TaskData
    splits: dict[str, Split]
    tuned: Tuned


def assemble(config: Config, device: torch.device, data: TaskData) -> Parts:
    """Load the backbone, build the method, put it on, encode the splits."""
    backbone = held_backbone(config, device)
    as_written(backbone)
    splits = encode_splits(config, data, backbone.tokenizer)
    try:
        method = build_method(config, backbone) if capabilities(config.method).trains else None
    except ValueError as error:
        raise Refused(str(error)) from error
    backbone.backbone_dropout = config.runner.backbone_dropout
    try:
        for module in (backbone.model, backbone.head):
            if isinstance(module, torch.nn.Module):
                set_hidden_dropout(module, config.runner.hidden_dropout)
        if config.runner.gradient_checkpointing != backbone.checkpointing:  # a kept backbone has the last run's
            backbone.gradient_checkpointing(config.runner.gradient_checkpointing)
        tuned = Tuned(backbone, method)
        if method is not None:
            refuse_other_count(tuned, config.method)
            refuse_unused_rates(tuned, config.method)
    except ValueError as error:  # it cannot enter this architecture
        raise Refused(str(error)) from error
    finally:
        if backbone.changed:  # it serves no other run
            LAST_BACKBONE.forget()
    if config.method.get("init_from"):
        start_from(tuned, config)
    tuned.tag_names = kind_of(config.task).tag_names(config.task)  # type: ignore[assignment]
    tuned = tuned.to(device)
    if controls.stays_as_drawn(config):
        tuned.leave_as_drawn()
    elif method is not None and "train" in splits:
        method.prepare(partial(example_gradients, tuned, splits["train"]))
    compile_if_asked(config, backbone)
    return Parts(data, splits, tuned)


def compile_if_asked(config: Config, backbone: Any) -> None:
    """`runner.compile`: with everything on it that a method puts there.

    Raises:
        Refused: there is nothing to compile in this architecture.
    """
    if config.runner.compile:
        try:
            compile_layers(backbone)
        except ValueError as error:
            raise Refused(str(error)) from error


def example_gradients(tuned: Tuned, train: Split) -> Iterator[None]:
    """Each training example's gradient in turn, left in the trained tensors; evaluation mode, the split's order."""
    training = tuned.training
    tuned.eval()
    try:
        for index in range(len(train.encoded)):
            tuned.zero_grad(set_to_none=True)
            batch = tuned.backbone.collate([train.encoded[index]]).to(tuned.backbone.device)
            tuned.losses(batch)[0].sum().backward()
            yield
    finally:
        tuned.zero_grad(set_to_none=True)
        tuned.train(training)


def refuse_unused_rates(tuned: Tuned, method: Mapping[str, Any]) -> None:
    """Refuse a learning rate for a group that a method in a user's own file has not: it would be left out unseen.

    Raises:
        ValueError: which, and what groups there are.
    """
    groups = set(tuned.trainable())
    unused = (
        set(method.get("lr") or {}) - groups - {"prompt", "offset", "prefix", "gate", "head"}
    )  # conf/method/own.yaml
    if method.get("name") == "own" and unused:
        raise ValueError(f"method.lr.{min(unused)}: this method has no such group; it has {', '.join(sorted(groups))}")


def refuse_other_count(tuned: Tuned, method: Mapping[str, Any]) -> None:
    """Refuse a method whose formula does not count what is there: it would be listed with a wrong number.

    Raises:
        ValueError: layers are merged or shared in this architecture.
    """
    told, there = methods.count(method, tuned.backbone.facts), tuned.counts()["method"]
    if told != there and method.get("name") != "full":  # full fine-tuning is counted in the backbone's YAML
        why = (
            "groups() leaves a tensor out or count() counts another number (scripts/check_method.py says which)."
            if method.get("path")
            else "layers are shared, merged or have other names there. Input-level methods (pt, dept, adept, accept) "
            "work there."
        )
        raise ValueError(
            f"method={method.get('name')} on {type(tuned.backbone.model).__name__} (backbone "
            f"{tuned.backbone.config.name!r}) would train {there:,} numbers where its formula says {told:,}: {why}"
        )


def build_method(config: Config, backbone: Any) -> Any:
    """The method's module, its tensors drawn from the run's seed alone."""
    generator = torch.Generator().manual_seed(config.seed)
    facts: Facts = backbone.facts
    rows = None
    deep = config.method.get("prefix_length")
    how, length = config.method.get("init"), methods.start_rows(config.method)
    if how and how != "random" and length:
        rows = prompt_rows(
            backbone,
            backbone.tokenizer,
            how,
            length,
            text=config.method.get("init_text") or "",
            labels=label_words(config.task, config.protocol),
            generator=generator,
            text_eos=bool(config.method.get("init_text_eos")),
        )
        rows = backbone.keys_and_values(rows) if deep else rows
    try:
        sources = source_prompts(config, backbone)
    except WrongSource as error:
        raise Refused(str(error)) from None
    return methods.build(config.method, facts, rows, generator, sources)
