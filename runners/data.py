"""From a configuration to the rows of a run: split as the protocol says, capped, and as token ids."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from conf.paths import cache_root
from conf.schema import Config
from runners.errors import Refused
from runners.evaluate import Split
from runners.progress import counted
from tasks.config import source_length
from tasks.encode import told_apart
from tasks.encoded import encode_split
from tasks.kinds import kind_of
from tasks.permuted import permuted
from tasks.task import TaskData, load_task
from tasks.templates import label_words


def capped_length(config: Config) -> int:
    """Tokens of a source: the protocol's and the task's length, under the runner's cap."""
    own = source_length(config.task, config.protocol)
    return min(own, config.runner.max_source_length or own)


def load_data(config: Config) -> TaskData:
    """Examples by role (`train`, `validation`, `test`), capped as the runner says; the caps are in the report."""
    data = load_task(
        config.task,
        config.protocol,
        config.data,
        family=config.backbone.family,
        fidelity=config.fidelity,
        seed=config.seed,
        cache_root=cache_root(config),
    )
    runner = config.runner
    for role, limit in (
        ("train", runner.train_rows),
        ("validation", runner.validation_rows),
        ("test", runner.test_rows),
    ):
        examples = data.splits.get(role)
        if limit and examples is not None and len(examples) > limit:
            generator = torch.Generator().manual_seed(config.protocol.split_seed)
            chosen = torch.randperm(len(examples), generator=generator)[:limit].tolist()
            data.splits[role] = examples.take(sorted(chosen))
    data.report["used_rows"] = {role: len(examples) for role, examples in data.splits.items()}
    if config.control == "shuffled_labels" and "train" in data.splits:
        shuffle_labels(config, data)
    return data


def shuffle_labels(config: Config, data: TaskData) -> None:
    """Permute the gold of the training rows that are used, and note it in the report; other splits stay.

    Raises:
        Refused: it would change nothing, so that this were the method itself under the name of a control.
    """
    data.splits["train"], changed = permuted(config.task, data.splits["train"], config.seed)
    rows = len(data.splits["train"])
    if not changed:
        raise Refused(
            f"control=shuffled_labels on {config.task.name}: its {rows} training rows have one gold, or no two of them "
            "could have each other's, so there is nothing to shuffle"
        )
    data.report["control"] = (
        f"control: the gold of the training rows was permuted (seed {config.seed}); {changed:,} of {rows:,} have "
        "another than their own. Validation and test are untouched"
    )


def room_for_source(config: Config) -> int | None:
    """Tokens of a source that fit behind the prompt where a protocol cuts [prompt; source] to a length as a whole.

    Raises:
        Refused: there is no room behind the prompt.
    """
    whole, prompt = config.protocol.whole_length, int(config.method.get("prompt_length") or 0)
    if whole and prompt >= whole:
        raise Refused(
            f"method.prompt_length={prompt}: protocol {config.protocol.name} cuts prompt and source together to "
            f"protocol.whole_length={whole} tokens, which leaves none for the source"
        )
    return whole - prompt if whole else None


def ends_answers(config: Config) -> bool:
    """Whether answers end with EOS: the backbone's, unless the protocol says."""
    own = config.protocol.answer_eos
    return config.backbone.text.answer_eos if own is None else own


def encode_splits(config: Config, data: TaskData, tokenizer: Any) -> dict[str, Split]:
    """Token ids of every split."""
    length = capped_length(config)
    words = label_words(config.task, config.protocol)
    ended = ends_answers(config) or config.protocol.rank_per is not None  # a mean need not favour a beginning
    same = told_apart(words, tokenizer, config.backbone.family, ended)
    if same:
        raise Refused(
            f"{config.task.name} with backbone={config.backbone.name}: {same}; the model could not tell these label "
            "words apart. Way out: protocol.label_words=digits, or words that this tokenizer knows"
        )
    splits = {}
    for role, examples in data.splits.items():
        encoded = encode_split(
            examples,
            tokenizer,
            family=config.backbone.family,
            max_source_length=length,
            max_target_length=config.protocol.answer_length if kind_of(config.task).several else None,
            source_tokens=room_for_source(config),
            answer_eos=ends_answers(config),
            tag_names=kind_of(config.task).tag_names(config.task),
            data_sha256=data.report["sha256"],
            cache_root=cache_root(config),
            watched=partial(counted, f"tokenise {role}", len(examples)),
        )
        if encoded.largest_id >= (rows := config.backbone.sizes().vocab):
            raise Refused(
                f"backbone {config.backbone.name!r}: its tokenizer gave id {encoded.largest_id} for a text of the "
                f"{role} split, and the model has {rows} embeddings; this tokenizer belongs to another model"
            )
        splits[role] = Split(role, examples, encoded)
    return splits
