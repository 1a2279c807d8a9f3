"""Checkpoints that know whose they are and whether they are whole.

`checkpoint.pt` is one line of JSON behind a mark (run id, step, size and sha256 of the rest: results/verify.py), filled
up to `HEAD` bytes, then what torch writes. The checkpoint before it stays beside it as `checkpoint.before.pt`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from typing import Any

import torch

from results.files import replacing
from results.ledger import RunFolder
from results.verify import MARK, checkpoint_head

NAME, BEFORE = "checkpoint.pt", "checkpoint.before.pt"
HEAD = 1024  # bytes of the first line
OBSERVED = {"data": "data", "backbone": "a backbone"}  # of the first line: what must still be what it was


class CorruptCheckpoint(RuntimeError):
    """checkpoint.pt is damaged, or another run's."""


def write(run: RunFolder, state: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write checkpoint.pt atomically and keep the one before.

    Args:
        about: what the first line says besides id, step and checksum (the observed hashes of the data and of a
            backbone of the Hub, `forced`).
    """
    with replacing(run / NAME) as temporary:
        with temporary.open("w+b") as handle:
            handle.write(b" " * HEAD)
            torch.save(dict(state), handle)
            size = handle.tell() - HEAD
            handle.seek(HEAD)
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
            head = {**about, "run_id": run.id, "step": state["step"], "size": size, "sha256": sha256}
            handle.seek(0)
            handle.write((MARK + json.dumps(head, sort_keys=True).encode()).ljust(HEAD - 1) + b"\n")
        if (run / NAME).exists():
            with replacing(run / BEFORE) as older:
                os.link(run / NAME, older)


def read(run: RunFolder, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state in checkpoint.pt (in the one before it where there is only that), None where there is none.

    Raises:
        CorruptCheckpoint: it is damaged, another run's, or of other data or another backbone; nothing is changed.
    """
    path = run / NAME if (run / NAME).exists() else run / BEFORE
    if not path.exists():
        return None
    head, problem = checkpoint_head(path, run.id)
    if problem:
        raise CorruptCheckpoint(f"{problem}; nothing was changed. {_way_on(run)}")
    for name, what in OBSERVED.items():
        if head.get(name) != about.get(name):
            raise CorruptCheckpoint(
                f"{path}: made on {what} with sha256 {str(head.get(name))[:12]}, the same source now gives "
                f"{str(about.get(name))[:12]}; nothing was changed. force=true trains this run from its start"
            )
    with path.open("rb") as handle:
        handle.seek(HEAD)
        state: dict[str, Any] = torch.load(io.BytesIO(handle.read()), weights_only=True, map_location="cpu")
    return state


def _way_on(run: RunFolder) -> str:
    head, problem = checkpoint_head(run / BEFORE, run.id)
    if problem:
        return "Delete that file to train this run from its start, or force=true"
    return f"Delete that file to go on from step {head['step']} ({BEFORE} is whole), or force=true to start anew"


def is_of_a_forced_start(run: RunFolder) -> bool:
    """Whether force=true began what the checkpoint goes on with."""
    return bool(checkpoint_head(run / NAME, run.id)[0].get("forced"))


def throw_away(run: RunFolder) -> None:
    """Remove the checkpoints and the log that belongs to them."""
    for name in (NAME, BEFORE, "metrics.jsonl"):
        (run / name).unlink(missing_ok=True)
