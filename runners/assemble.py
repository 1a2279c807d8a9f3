"""From a configuration to the parts of a run: encoded splits, a frozen backbone, a method on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from backbones.admission import admit
from backbones.compiled import as_written, compile_layers
from backbones.compiled import problem as compile_problem
from backbones.config import Facts
from backbones.config import check as check_backbone
from backbones.dropout import set_hidden_dropout
from backbones.init import prompt_rows
from backbones.load import load_backbone, load_tokenizer
from backbones.sharded import processes, shard
from backbones.tuned import Tuned
from conf.capabilities import Capabilities, capabilities
from conf.paths import cache_root, ledger_of
from conf.schema import Config
from methods import load as methods
from methods.base import InputMethod
from results.content import model_sha256
from runners import controls
from runners.evaluate import Split, answering
from runners.progress import counted
from runners.same_backbone import other_backbone
from runners.source_prompts import WrongSource, source_prompts
from runners.workers import DTYPES, missing_device
from tasks.config import source_length
from tasks.encode import told_apart
from tasks.encoded import encode_split
from tasks.errors import DataError
from tasks.kinds import kind_of
from tasks.permuted import permuted
from tasks.task import TaskData, load_task
from tasks.templates import label_words


class Refused(ValueError):
    """A configuration that cannot run, said before anything is loaded."""


@dataclass
class Parts:
    """What a run is made of."""

    data: TaskData
    splits: dict[str, Split]
    tuned: Tuned


def capped_length(config: Config) -> int:
    """Tokens of a source: the protocol's and the task's length, under the runner's cap."""
    own = source_length(config.task, config.protocol)
    return min(own, config.runner.max_source_length or own)


def problems_of(config: Config) -> list[str]:
    """Everything wrong with a configuration that can be known without data and weights."""
    found = check_backbone(config.backbone)
    missing = missing_device(config.runner.device)
    found += [missing] if missing else []
    if found:
        return found
    if config.backbone.quantization and config.runner.sharding:
        found.append(
            f"runner.sharding={config.runner.sharding} with backbone.quantization={config.backbone.quantization}: "
            "layers in few bits are not held in parts here; leave one of them out"
        )
    facts = config.backbone.sizes()
    can = capabilities(config.method)
    if can.trains:
        found += methods.check(config.method, facts, capped_length(config)) or _not_as_said(can, config)
    elif config.method.get("target") or config.method.get("path"):
        found.append(f"method={config.method['name']} has a class, but its YAML says capabilities.trains=false")
    found += controls.problems(config)
    if config.runner.compile:
        found += _compile_problems(config)
    init, network = config.method.get("init"), config.method.get("reparameterisation", "none")
    deep_from_text = config.method.get("prefix_length") and init not in (None, "random")
    if deep_from_text and (not facts.traits.continues or network != "none"):
        found.append(
            f"method.init={init}: a deep prefix starts from the keys and values of real tokens on decoder-only models "
            f"without a network (family {facts.family}, reparameterisation {network} here); set method.init=random"
        )
    if config.runner.precision not in DTYPES:
        found.append(f"runner.precision={config.runner.precision!r} is not one of {', '.join(DTYPES)}")
    elif config.runner.precision == "fp16" and not facts.traits.half:
        found.append(
            "runner.precision=fp16 with T5: its activations overflow in half precision and the loss becomes NaN; "
            "use bf16 or fp32"
        )
    return found


def _compile_problems(config: Config) -> list[str]:
    others = {"runner.sharding": config.runner.sharding, "backbone.quantization": config.backbone.quantization}
    found = [
        f"runner.compile=true with {key}={value}: such layers are not compiled here; leave one of them out"
        for key, value in others.items()
        if value
    ]
    wrong = compile_problem(config.runner.device)
    return [*found, wrong] if wrong else found


def _not_as_said(can: Capabilities, config: Config) -> list[str]:
    """Where the class of a user's own file is not what the configuration says it can do."""
    method = methods.method_class(config.method.get("target"), config.method.get("path"))
    if can.packs and getattr(method, "answers_together", False):
        return [
            f"method.capabilities.packs=true, but several prompts of {method.__name__} answer each row together: it "
            "cannot share passes with other runs; leave packs out"
        ]
    if can.packs and not issubclass(method, InputMethod):
        return [
            f"method.capabilities.packs=true, but {method.__name__} is no methods.base.InputMethod: runs of it cannot "
            "share passes; leave packs out"
        ]
    return []


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
    """Tokens of a source that fit behind the prompt where a protocol cuts [prompt; source] to a length as a whole."""
    whole = config.protocol.whole_length
    return whole - int(config.method.get("prompt_length") or 0) if whole else None


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


def assemble(config: Config, device: torch.device, data: TaskData, splits: dict[str, Split] | None = None) -> Parts:
    """Load the backbone, build the method, put it on, encode the splits (or take those of a run on the same rows)."""
    backbone = held_backbone(config, device)
    as_written(backbone)
    splits = splits or encode_splits(config, data, backbone.tokenizer)
    try:
        method = build_method(config, backbone) if capabilities(config.method).trains else None
    except ValueError as error:
        raise Refused(str(error)) from error
    backbone.backbone_dropout = config.runner.backbone_dropout
    for module in (backbone.model, backbone.head):
        if isinstance(module, torch.nn.Module):
            set_hidden_dropout(module, config.runner.hidden_dropout)
    try:
        if config.runner.gradient_checkpointing != backbone._checkpointing:  # a kept backbone has the last run's
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


def start_from(tuned: Tuned, config: Config) -> None:
    """Begin with the tensors of an earlier run (SPoT, few-shot transfer): those of equal name and shape are taken.

    Raises:
        Refused: there is no such finished run, it had another backbone, or nothing of it fits.
    """
    from safetensors.torch import load_file

    wanted: Mapping[str, torch.Tensor] = tuned.state()
    taken: dict[str, torch.Tensor] = {}
    for run_id in str(config.method["init_from"]).split("+"):
        try:
            run = ledger_of(config).find(run_id.strip())
        except KeyError as error:
            raise Refused(f"method.init_from={run_id}: {error.args[0]}") from None
        path: Path = run / "method.safetensors"
        if not path.exists():
            raise Refused(f"method.init_from={run_id}: {path} is not there; that run is not done")
        other = None if config.method.get("init_across") else other_backbone(run.record() or {}, config, tuned.backbone)
        if other:
            raise Refused(
                f"method.init_from={run_id}: {other}. method.init_across=true takes its tensors all the same."
            )
        saved = load_file(path)
        wrong = [
            k for k, v in saved.items() if k in wanted and v.shape != wanted[k].shape and not k.startswith("head.")
        ]
        if wrong:
            seen = ", ".join(f"{k} {tuple(saved[k].shape)} there, {tuple(wanted[k].shape)} here" for k in wrong)
            raise Refused(f"method.init_from={run_id}: {seen}; give the method the lengths and ranks of that run")
        taken |= {k: v for k, v in saved.items() if k in wanted and v.shape == wanted[k].shape}
    if not taken:
        raise Refused(
            f"method.init_from={config.method['init_from']}: no tensor of that run has a name and shape of this "
            f"method's ({', '.join(f'{k} {tuple(v.shape)}' for k, v in wanted.items())})"
        )
    tuned.load_state({**wanted, **taken})


__all__ = ["Parts", "Refused", "answering", "assemble", "hold_backbone", "load_data", "load_tokenizer", "problems_of"]
