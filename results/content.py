"""What files hold, told by a hash that is remembered: a score hangs on contents, never on the names of folders."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from results.files import write_text

# Files of a model's folder that no loading of the model or its tokenizer reads. Whatever else lies there counts.
NOT_OF_THE_MODEL = (
    ".gitattributes", ".gitignore", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt",
    "trainer_state.json", "training_args.bin", "rng_state.pth", "all_results.json", "train_results.json",
    "eval_results.json", "model_card.json",
)  # fmt: skip
NOT_OF_THE_MODEL_SUFFIXES = (".md", ".h5", ".msgpack", ".onnx", ".ot", ".lock", ".tmp", ".png", ".jsonl", ".log")
NOT_OF_THE_MODEL_STEMS = ("rng_state_", "events.out.", "LICENSE", "README", "USE_POLICY")
# of a model on the Hub: its weights as they are looked for (the first kind that is there), and all else that is read
HUB_WEIGHTS = (
    ("model.safetensors",), ("model.safetensors.index.json", "model-*.safetensors"), ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)  # fmt: skip
HUB_TEXT = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "spm.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
WORTH_REMEMBERING = 2**22  # bytes: a smaller file is hashed sooner than the memory is read


def default_cache() -> Path:
    """$SOFT_PROMPT_BENCH_CACHE, else ~/.cache/soft-prompt-bench."""
    chosen = os.environ.get("SOFT_PROMPT_BENCH_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "soft-prompt-bench"


def file_sha256(path: Path, cache: Path) -> str:
    """sha256 of a file, taken once as long as its size, times and inode stay the same.

    Args:
        path: the file (links are followed).
        cache: where the hashes of large files are kept from one process to the next.
    """
    seen = path.stat()
    # the time of the last change of the inode cannot be set by hand, unlike that of the content
    state = (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev)
    return _hashed(path.resolve(), state, cache)


@lru_cache(maxsize=4096)
def _hashed(path: Path, state: tuple[int, ...], cache: Path) -> str:
    if state[0] < WORTH_REMEMBERING:
        return _taken(path)
    name = hashlib.sha256(f"{path}|{state}".encode()).hexdigest()[:32]
    note = cache / "hashes" / name
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["state"] == list(state) and len(known["sha256"]) == 64:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never taken, or a damaged note: take it (again)
    taken = _taken(path)
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        write_text(note, json.dumps({"path": str(path), "state": state, "sha256": taken}) + "\n")
    return taken


def _taken(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def seal(folder: Path) -> None:
    """Note the size and hash of every file of a folder that is made once, in its `whole.json`."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    noted = {path.relative_to(folder).as_posix(): [path.stat().st_size, _taken(path)] for path in files}
    write_text(folder / "whole.json", json.dumps(noted, indent=1) + "\n")


def damage(folder: Path, cache: Path) -> str | None:
    """The first file of a sealed folder that is not as it was made (or what else is wrong), None where all are."""
    try:
        noted = json.loads((folder / "whole.json").read_text(encoding="utf-8"))
        for name, (size, sha256) in noted.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size or file_sha256(path, cache) != sha256:
                return str(name)
    except (OSError, ValueError, AttributeError, TypeError):
        return "whole.json"
    return None


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that loading it or its tokenizer may read.

    Raises:
        ValueError: the folder is not there or has no config.json.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"backbone.path={folder}: no config.json there; give a folder as `save_pretrained` writes it")
    return sorted(path for path in folder.iterdir() if path.is_file() and not _is_aside(path.name))


def _is_aside(name: str) -> bool:
    return (
        name in NOT_OF_THE_MODEL
        or name.endswith(NOT_OF_THE_MODEL_SUFFIXES)
        or name.startswith((".", *NOT_OF_THE_MODEL_STEMS))
    )


def model_sha256(folder: Path, cache: Path) -> str:
    """sha256 over the names, sizes and contents of a model's files: config, weights and tokenizer."""
    lines = [f"{file.name} {file.stat().st_size} {file_sha256(file, cache)}" for file in model_files(folder)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def hub_content(hub: str, revision: str | None, cache: Path) -> dict[str, str] | None:
    """What lies in the Hub's local cache under a revision, where a branch that moved leaves something else.

    Args:
        hub: owner/name.
        revision: a branch, tag or commit (default: main).
        cache: where hashes of large files are remembered.

    Returns:
        ``commit`` and ``sha256`` (over the names and contents of config, weights and tokenizer); None where no weights
        are there.
    """
    from huggingface_hub import try_to_load_from_cache  # takes a while; only models of the Hub need it

    config = try_to_load_from_cache(hub, "config.json", revision=revision or "main")
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    kinds = ([file for pattern in kind for file in sorted(folder.glob(pattern))] for kind in HUB_WEIGHTS)
    weights = next((files for files in kinds if files), [])
    if not weights:
        return None
    files = [*weights, *(folder / name for name in HUB_TEXT if (folder / name).is_file())]
    lines = [f"{file.name} {file_sha256(file, cache)}" for file in files]
    return {"commit": folder.name, "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
