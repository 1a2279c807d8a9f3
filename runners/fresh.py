"""Whether what a finished run declared, data and backbone, is still what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conf.paths import cache_root
from conf.schema import Config
from results.content import hub_content
from results.ledger import RunFolder


def moved(config: Config, record: Mapping[str, Any]) -> str | None:
    """What has changed under the declared revisions since a run was made, as far as it can be seen from here; None
    where nothing has. Loads neither data nor torch.

    Args:
        record: of the finished run.
    """
    from tasks.cache import observed_sha256

    data, backbone = record.get("data") or {}, record.get("backbone_content")
    now = observed_sha256(config.task, str(data.get("source")), str(data.get("revision")), cache_root(config))
    if now and data.get("sha256") and now != data["sha256"]:
        return f"its data had sha256 {data['sha256'][:12]}, the same source now gives {now[:12]}"
    if backbone:
        hub, revision = str(config.backbone.hub), config.backbone.revision or "main"
        found = hub_content(hub, revision, cache_root(config))
        if found and found["sha256"] != backbone["sha256"]:
            return (
                f"{hub} at {revision} was commit {backbone['commit'][:12]}, and is {found['commit'][:12]} with other "
                "files now"
            )
    return None


def refreshed(config: Config, run: RunFolder, known: dict[str, Any]) -> dict[str, Any]:
    """The record of a finished run, marked `stale` where its data or its backbone have moved since.

    The experiment that asks for it is noted if none was: names of experiments are no part of an id.
    """
    changes: dict[str, Any] = {}
    if stale := moved(config, known):
        changes["stale"] = stale
    if config.experiment and not known.get("experiment"):
        changes["experiment"] = config.experiment
    if not changes:
        return known
    try:
        run.write_record(known | changes)
    except OSError:  # a ledger that cannot be written is read all the same
        return known | changes | ({"status": "stale"} if "stale" in changes else {})
    return run.record() or known
