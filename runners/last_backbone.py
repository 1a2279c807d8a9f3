"""The backbone of a run: loaded and admitted, kept for the next run of a sweep, held in parts if it is to be."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from backbones.admission import admit
from backbones.load import load_backbone
from backbones.sharded import processes, shard
from conf.paths import cache_root
from conf.schema import Config
from results.content import model_sha256
from runners.errors import Refused
from runners.workers import DTYPES
from tasks.errors import DataError
from tasks.kinds import kind_of


class LastBackbone:
    """The last backbone of this process, kept for the next run of a sweep with the same one."""

    def __init__(self) -> None:
        self.key: Any = None
        self.backbone: Any = None
        self.head: torch.nn.Module | None = None  # as it was before any run trained it

    def get(self, config: Config, dtype: torch.dtype, device: torch.device) -> Any:
        """The backbone of `config`, loaded if it is not the one that is kept."""
        head, labels = head_of(config)
        folder = config.backbone.path  # what lies there may have changed since an earlier run of this process
        content = model_sha256(Path(folder).expanduser(), cache_root(config)) if folder else ""
        key = (repr(asdict(config.backbone)), content, str(dtype), str(device), head, labels, in_parts(config))
        seeded = config.seed if head else 0  # a new head draws from the run's seed
        if self.key != (*key, seeded):
            self.forget()
            # what is to be held in parts may be larger than one GPU: it is admitted on the CPU
            self.backbone = admitted_backbone(config, dtype, "cpu" if in_parts(config) else device)
            self.key = (*key, seeded)
            self.head = self.backbone.head
        # a copy for each run: a run that ended in the middle of a step leaves gradients behind
        self.backbone.head = deepcopy(self.head)
        return self.backbone

    def forget(self) -> None:
        self.key = self.backbone = self.head = None


LAST_BACKBONE = LastBackbone()


def in_parts(config: Config) -> bool:
    """Whether the layers of the frozen model lie in parts on several processes; one process holds them whole."""
    return config.runner.sharding is not None and processes() > 1


def hold_backbone(config: Config, device: torch.device) -> Any:
    """Load the backbone that `assemble` will want (or take it as it is kept), without a word to the other processes.

    Raises:
        Refused: it cannot be loaded or is not used rightly.
    """
    return LAST_BACKBONE.get(config, DTYPES[config.runner.precision], device)


def held_backbone(config: Config, device: torch.device) -> Any:
    """That backbone, its layers in parts where they are to be.

    Raises:
        Refused: it cannot be loaded, is not used rightly or cannot be held in parts.
    """
    backbone = hold_backbone(config, device)
    if in_parts(config) and backbone.shards is None:
        try:
            shard(backbone, device)
        except ValueError as error:
            raise Refused(str(error)) from error
    return backbone


def admitted_backbone(config: Config, dtype: torch.dtype, device: torch.device | str) -> Any:
    """The backbone of `config` with its task head; `admission` on it says how it was compared with the model's own
    forward (backbones/admission.py).

    Raises:
        Refused: it cannot be loaded as it is wished, or is not used rightly by this project.
    """
    head, labels = head_of(config)
    root = cache_root(config)
    try:
        backbone = load_backbone(
            config.backbone, dtype=dtype, device=device, cache_root=root, n_labels=labels, head=head, seed=config.seed
        )
        backbone.admission = admit(backbone, root)
    except DataError:
        raise  # out of reach: says so itself
    except ValueError as error:
        raise Refused(str(error)) from error
    return backbone


def head_of(config: Config) -> tuple[str | None, int | None]:
    """(kind of head, number of outputs) that an encoder needs for the task; (None, None) elsewhere."""
    if config.backbone.traits.writes:
        return None, None
    kind = kind_of(config.task)
    return kind.head, kind.outputs(config.task)
