"""What a backbone saw in supervised training, where it is known: a score on such a task is no transfer to it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from backbones.config import BackboneConfig

# pattern of a model's name (Hub id or folder, without the owner) -> (tasks, where that is written)
SUPERVISED: dict[str, tuple[tuple[str, ...], str]] = {
    r"t5-(small|base|large|3b|11b)": (
        ("glue/*", "superglue/*", "mrqa/squad"),
        "T5 v1.0's mixture holds GLUE, SuperGLUE and SQuAD; Raffel et al. 2020, section 3.5.3",
    ),
    r"flan-t5-(small|base|large|xl|xxl)": (
        ("glue/*", "superglue/*", "mrqa/squad", "mrqa/drop", "mrqa/nq", "mrqa/triviaqa", "mc/*",
         "other/paws", "other/winogrande", "other/yelp2"),
        "the Flan mixture holds it; Chung et al. 2022, appendix F",
    ),
}  # fmt: skip


def trained_on(config: BackboneConfig, task: str) -> str:
    """A sentence where the backbone was trained on a task's labelled rows; empty where it was not, or nobody knows."""
    for place in (config.hub, config.path):
        name = str(place or "").rstrip("/").rpartition("/")[2].lower()
        for pattern, (tasks, source) in SUPERVISED.items():
            if re.fullmatch(pattern, name) and any(fnmatchcase(task, wanted) for wanted in tasks):
                return f"{config.name} was trained on {task} before ({source}): no transfer to a new task"
    return ""
