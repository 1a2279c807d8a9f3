"""Rows from the Hugging Face Hub without dataset scripts: the first place, then its fallbacks in order.

A revision that is a branch is resolved to its commit before anything is read, and the rows are read at that commit: the
record names what was really read, also when the branch moves meanwhile. `task.hub.revision=<commit>` pins it for good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.config import TaskConfig
from tasks.entities import bio
from tasks.errors import SourceUnavailable

Rows = list[dict[str, Any]]


def load_hub(task: TaskConfig) -> tuple[dict[str, Any], str, dict[str, str], list[str]]:
    """Rows per official split.

    Returns:
        splits, the place that served them (``id@revision``), its fingerprint, notes on places that failed.

    Raises:
        SourceUnavailable: no place serves the task; the message has each place with its reason.
    """
    hub = dict(task.hub or {})
    places = [
        hub,
        *(dict(hub, **{"data_files": None, "tag_file": None, "rename": None, **f}) for f in hub["fallbacks"]),
    ]
    failures: list[str] = []
    for place in places:
        name = f"{place['id']}@{place.get('revision', 'main')}"
        try:
            commit = _commit(place)
            return _load({**place, "revision": commit}), name, {"hub": name, "commit": commit}, failures
        except Exception as error:  # whatever the Hub, the network or the builder raises, the next place is tried
            failures.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}")
    raise SourceUnavailable(
        f"{task.name}: the Hub gave no rows ({'; '.join(failures)}); "
        "ways on: data=package where a package carries it, data=local data.root=<folder>, data=fixture"
    )


def _load(place: Mapping[str, Any]) -> dict[str, Any]:
    from datasets import load_dataset

    revision = place.get("revision") or "main"
    if place.get("data_files"):
        base = f"hf://datasets/{place['id']}@{revision}/"
        files = {split: [base + f for f in _listed(names)] for split, names in place["data_files"].items()}
        builder = "parquet" if str(next(iter(files.values()))[0]).endswith(".parquet") else "json"
        loaded = load_dataset(builder, data_files=files)
    else:
        if Path(place["id"]).exists():  # datasets would read it in the place of the Hub's
            raise SourceUnavailable(f"{place['id']} is a folder here; start from another one")
        loaded = load_dataset(place["id"], place.get("config"), revision=revision)
    names = place.get("splits") or {split: split for split in loaded}
    tags = _tag_names(place, revision) if place.get("tag_file") else None
    return {ours: _rows(loaded[theirs], place, tags) for ours, theirs in names.items() if theirs in loaded}


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _rows(split: Any, place: Mapping[str, Any], tags: list[str] | None) -> Any:
    """Our column names, tags by name (copies on the Hub disagree about the ids), one subset of a mixed set."""
    if place.get("where"):
        wanted = dict(place["where"])
        split = split.filter(lambda row: all(row[k] == v for k, v in wanted.items()))
    for theirs, ours in (place.get("rename") or {}).items():
        split = split.rename_column(theirs, ours)
    if "ner_tags" in split.column_names:
        names = tags or getattr(getattr(split.features["ner_tags"], "feature", None), "names", None)
        if names:
            return (dict(r, ner_tags=[names[t] if isinstance(t, int) else t for t in r["ner_tags"]]) for r in split)
    if "entities" in split.column_names and "tokens" in split.column_names:
        return (dict(r, ner_tags=_from_entities(r)) for r in split)
    return split


def _from_entities(row: Mapping[str, Any]) -> list[str]:
    """IOB2 tags from entity spans with an exclusive end (DFKI-SLT/conll04)."""
    return bio(len(row["tokens"]), [(e["type"], e["start"], e["end"]) for e in row["entities"]])


def _tag_names(place: Mapping[str, Any], revision: str) -> list[str]:
    """Tag names in the order of the ids of a raw-file copy (tner's ``label.json``: name -> id)."""
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(place["id"], place["tag_file"], revision=revision, repo_type="dataset")
    with open(path, encoding="utf-8") as handle:
        ids = json.load(handle)
    return sorted(ids, key=lambda name: ids[name])


def _commit(place: Mapping[str, Any]) -> str:
    """The commit behind a branch name."""
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(place["id"], revision=place.get("revision") or "main", timeout=10).sha)
