"""Runs of before ids counted every value, under the names that they have now.

Of such a run the record tells every value but not the code behind it: taken over are runs of shipped methods on
shipped backbones, whose integer versions speak for the code. What else counts (a file of one's own, a local model, the
tensors of an earlier run) was not noted then, so those runs keep their old names and stay unknown.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from results.files import write_json, write_text
from results.identity import id_of, named_by_configuration
from results.ledger import Ledger, RunFolder
from results.source_code import shipped_sources
from results.verify import hashes

DEAD = ("runner.label_loss", "protocol.seeds")  # options that nothing read


class Unknown(ValueError):
    """An old run whose new name cannot be known; the message says why."""


def new_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """An old record under its new name.

    Raises:
        Unknown: what it was made of was not noted.
    """
    config = deepcopy(dict(record.get("config") or {}))
    method, backbone = config.get("method") or {}, config.get("backbone") or {}
    revision = (record.get("data") or {}).get("revision")
    reasons = {
        "its record has no configuration": not (method and backbone),
        "its data's revision was not noted": not revision,
        "the file of its method was not noted": bool(method.get("path")) or not _is_shipped(method.get("target")),
        "the content of its local model was not noted": bool(backbone.get("path")),
        "the content of the released file was not noted": bool((config.get("released") or {}).get("path")),
        "the tensors of the run that it starts from were not noted": bool(method.get("init_from")),
    }
    for reason, holds in reasons.items():
        if holds:
            raise Unknown(reason)
    for key in DEAD:
        group, _, name = key.partition(".")
        if isinstance(config.get(group), dict):
            config[group].pop(name, None)
    counted: dict[str, Any] = {"data": revision, "contents": {}}
    name = id_of(config, str(revision), {})
    return {**record, "config": config, "identity": counted, "run_id": name, "formerly": record["run_id"]}


def _is_shipped(target: str | None) -> bool:
    """Whether a method is this bench's own; `none` and `majority` have no class."""
    return target is None or target.rpartition(".")[0].replace(".", "/") + ".py" in shipped_sources()


def take_over(run: RunFolder, ledger: Ledger, keep: bool) -> str:
    """Give a finished run its new name in a ledger; returns that name.

    Args:
        keep: leave the old folder where it is (it is another ledger's).

    Raises:
        Unknown: it is not finished, or what it was made of was not noted.
    """
    record = run.record()
    if record is None or record["status"] not in ("done", "stale"):
        raise Unknown(f"it is {record['status'] if record else 'no run'}; only finished runs are taken over")
    if not named_by_configuration(record):
        raise Unknown("its configuration did not give its name: it is a scoring of another run, or not of this bench")
    stored = {**record, "status": "done"}
    made = new_record(stored)
    place = ledger.root / made["run_id"]
    if not place.exists():
        scratch = ledger.root / f".taking-{made['run_id']}-{os.getpid()}"
        shutil.copytree(run.folder, scratch, ignore=shutil.ignore_patterns("lock", "checkpoint*.pt", ".*"))
        write_into(scratch, made)
        os.replace(scratch, place)  # an empty or half-copied folder never has the name
    if not keep and run.folder != place:
        shutil.rmtree(run.folder)
    return str(made["run_id"])


def write_into(folder: Path, record: dict[str, Any]) -> None:
    """Write a renamed record, and its name wherever the folder's files say it."""
    manifest = folder / "manifest.json"
    if manifest.exists():
        write_json(manifest, {**yaml.safe_load(manifest.read_text(encoding="utf-8")), "run_id": record["run_id"]})
    if (folder / "config.yaml").exists():
        write_text(folder / "config.yaml", yaml.safe_dump(record["config"], sort_keys=False, allow_unicode=True))
    write_json(folder / "record.json", {**record, "files": hashes(folder)})
