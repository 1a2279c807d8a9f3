"""A finished run as a model again: what scripts that answer, export or measure begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from backbones.tuned import Tuned
from conf.capabilities import capabilities
from conf.compose import typed_record
from conf.schema import Config
from results.ledger import Ledger, RunFolder
from runners.assemble import build_method
from runners.changed import refuse_changed
from runners.last_backbone import admitted_backbone
from runners.same_backbone import other_weights
from runners.workers import DTYPES
from tasks.kinds import kind_of


@dataclass
class Finished:
    """A run of the ledger with its tuned model, in evaluation mode."""

    run: RunFolder
    record: dict[str, Any]
    config: Config
    tuned: Tuned


def load_finished(
    root: Path, prefix: str, device: str = "cpu", cache: str | None = None, beside: Finished | None = None
) -> Finished:
    """Load the run whose id begins with `prefix`.

    Args:
        root: the ledger.
        cache: where models are kept (default: as the run had it).
        beside: a loaded run whose frozen backbone this one shares.

    Raises:
        ValueError: there is no such finished run with a trained method, what it was made of has changed since, or it is
            on another backbone than the one that it shall share.
    """
    try:
        run = Ledger(root).find(prefix)
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None
    record = run.record()
    refuse_unloadable(run, record)
    assert record is not None
    config = typed_record(record["config"])
    if cache:
        config.cache.root = cache
    refuse_changed(run, record)
    if beside is None:
        backbone = admitted_backbone(config, DTYPES[config.runner.precision], device)
    else:
        backbone = _shared(beside, run, config)
    moved = other_weights(record, backbone)
    if moved:
        raise ValueError(f"run {run.id} cannot answer here: {moved}")
    tuned = Tuned(backbone, build_method(config, backbone)).to(torch.device(device))
    tuned.tag_names = kind_of(config.task).tag_names(config.task)  # type: ignore[assignment]
    tuned.load_state(load_file(run / "method.safetensors"))
    return Finished(run, record, config, tuned.eval())


def refuse_unloadable(run: RunFolder, record: dict[str, Any] | None) -> None:
    """Raises ValueError where a run has no trained tensors of its own."""
    if record is None or record["status"] != "done":
        raise ValueError(
            f"run {run.id} is {record['status'] if record else 'not there'}, not done; finish it with run.py"
        )
    if record.get("adopted") or record.get("transfer"):
        whose = (
            "someone else's predictions" if record.get("adopted") else f"a scoring of run {record['transfer']['run']}"
        )
        raise ValueError(f"run {run.id} is {whose}: it has no tensors of its own")
    if not capabilities(record["config"]["method"]).trains:
        raise ValueError(f"run {run.id} is method={record['method']}: nothing was trained that could be loaded")


def _shared(beside: Finished, run: RunFolder, config: Config) -> Any:
    mine, other = (config.backbone, config.runner.precision), (beside.config.backbone, beside.config.runner.precision)
    if mine != other:
        raise ValueError(
            f"run {run.id} is on {mine[0].name} ({mine[1]}), run {beside.run.id} on {other[0].name} ({other[1]}): one "
            "backbone cannot serve both"
        )
    return beside.tuned.backbone


def forced(given: dict[str, str]) -> bool:
    """Whether what stands at the place of an output is overwritten (`force=true`).

    Raises:
        ValueError: neither true nor false.
    """
    if given.get("force", "false") not in ("true", "false"):
        raise ValueError(f"force={given['force']}: true or false")
    return given.get("force") == "true"


def options_of(arguments: list[str], known: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """`key=value` arguments of a script and the rest.

    Raises:
        ValueError: an unknown key; the message lists the known ones.
    """
    given, rest = {}, []
    for text in arguments:
        key, sign, value = text.partition("=")
        if not sign or Path(text).exists():
            rest.append(text)
        elif key not in known:
            raise ValueError(f"{text}: known are {', '.join(f'{k}=<{v}>' for k, v in known.items())}")
        else:
            given[key] = value
    return given, rest
