"""Reading the parameter files that the DePT authors released (MIT; T5-base, `adapter_model.bin`)."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

DEPT_KEYS = {
    "prompt_embeddings": "prompt",
    "prompt_encoder.lora_embedding_A": "offset_a",
    "prompt_encoder.lora_embedding_B": "offset_b",
}
"""Names in the released files -> names in `methods.dept.DePT`."""


def load_dept_released(path: str | Path) -> dict[str, Tensor]:
    """Read one released run.

    Args:
        path: `adapter_model.bin`, or the folder that holds it.

    Returns:
        `prompt_embeddings` (m, d), `prompt_encoder.lora_embedding_A` (s, r) and `prompt_encoder.lora_embedding_B`
        (r, d), float32, by the names in the file.

    Raises:
        ValueError: If there is no such file, it is not a parameter file, or tensors are missing (three of the
            five released files hold the prompt alone and cannot give their published scores).
    """
    file = Path(path).expanduser()
    file = file / "adapter_model.bin" if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"released.path={path}: there is no file {file.name}. Give the released adapter_model.bin.")
    try:
        # Pickled by others: weights_only reads tensors and runs nothing.
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"released.path={path}: not a parameter file that can be read safely ({error}).") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"released.path={path}: a dictionary of tensors is wanted, found {type(tensors).__name__}.")
    missing = [key for key in DEPT_KEYS if key not in tensors]
    if missing:
        raise ValueError(
            f"released.path={path}: without {', '.join(missing)}; it holds {sorted(tensors)}. The published score "
            "cannot come of it. Of the released runs, CoLA and SST-2 are whole."
        )
    found = {key: tensors[key].detach().to(torch.float32) for key in DEPT_KEYS}
    prompt, a, b = found.values()
    if a.dim() != 2 or b.dim() != 2 or prompt.dim() != 2 or a.shape[1] != b.shape[0] or prompt.shape[1] != b.shape[1]:
        shapes = {key: tuple(tensor.shape) for key, tensor in found.items()}
        raise ValueError(f"released.path={path}: shapes {shapes} are not (m, d), (s, r), (r, d).")
    return found


def dept_options(tensors: dict[str, Tensor]) -> dict[str, int]:
    """The options of `methods.dept.DePT` that fit a released run: m, r and s."""
    length, rank = tensors["prompt_encoder.lora_embedding_A"].shape
    return {"prompt_length": tensors["prompt_embeddings"].shape[0], "rank": rank, "max_source_length": length}


def dept_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a released run by their names in `methods.dept.DePT` (for `load_state_dict`)."""
    return {ours: tensors[theirs] for theirs, ours in DEPT_KEYS.items()}
