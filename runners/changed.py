"""Whether a finished run's code and model are still those that it was trained with."""

from __future__ import annotations

from typing import Any

from conf.choices import groups
from conf.compose import compose
from results.identity import contents
from results.ledger import RunFolder


def refuse_changed(run: RunFolder, record: dict[str, Any]) -> None:
    """Raises ValueError where code or model are not those that the run was trained with: its tensors would answer
    through another equation, under the name of a score that is not theirs."""
    then = (record.get("identity") or {}).get("contents")
    if then is None:  # a record from before contents were noted
        return
    config = dict(record["config"])
    # the runs that it started from are in its tensors
    config["method"] = {k: v for k, v in config["method"].items() if k not in ("init_from", "sources")}
    now = contents(config)
    sources, others = then.get("source", {}), now.get("source", {})
    mine = {"own": str(config["method"].get("path"))}  # its file; the others are named by theirs
    changed = sorted(mine.get(name, name) for name in {*sources, *others} if sources.get(name) != others.get(name))
    changed += [f"the {part}'s files" for part in ("backbone", "released") if then.get(part) != now.get(part)]
    for group in ("method", "backbone"):
        made, name = record["config"][group].get("version", 1), record["config"][group]["name"]
        today = compose([f"{group}={name}"])[group].get("version", 1) if name in groups()[group] else made
        changed += [f"{group}={name} (version {made} then, {today} now)"] if made != today else []
    if changed:
        raise ValueError(
            f"run {run.id} was made with something else than is here now: {', '.join(changed)}; bring that back, or "
            "train it anew, for its tensors would answer otherwise than its record says"
        )
