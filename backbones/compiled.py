"""The frozen layers through torch.compile (`runner.compile=true`): fewer, larger kernels after minutes of compiling.

Each layer is compiled in place and by itself; embeddings, head and the method's own equations stay as they are. What
torch cannot trace it runs as written. Sums may be rounded otherwise and dropout draws other numbers: it counts in a
run's id. Sizes of batches and rows are left open (`dynamic=True`). Only what is called while a run trains and is scored
is compiled: loading, admission and a method's attaching come before.
"""

from __future__ import annotations

import inspect
import os
import shutil
import sys
from importlib.util import find_spec
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from backbones.errors import BackboneError

VARIANTS = 16  # ways in which a layer is called (training, scoring, with a cache, of one row), rather more than seen
BACKEND = "inductor"  # tests take one that compiles nothing to machine code


def layers_of(model: torch.nn.Module) -> list[GradientCheckpointingLayer]:
    """The outermost layers of a transformers model, each once."""
    found = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    inner = {id(module) for layer in found for module in layer.modules() if module is not layer}
    return [layer for layer in found if id(layer) not in inner]


def compile_layers(backbone: Any) -> None:
    """Compile every layer at its next call, whatever is on it by then (hooks of a method count).

    Raises:
        BackboneError: no layers are found in this architecture.
    """
    layers = layers_of(backbone.model)
    if not layers:
        raise BackboneError(
            f"runner.compile=true: no layers are found in {type(backbone.model).__name__} (backbone "
            f"{backbone.config.name!r}); set runner.compile=false"
        )
    most = VARIANTS * len(layers)  # what comes after as many compiled calls torch runs as written
    torch._dynamo.config.accumulated_recompile_limit = max(torch._dynamo.config.accumulated_recompile_limit, most)
    # layers share what is compiled, unless each writes into a cache under its own index: then every call would try
    # the calls of all other layers first
    alone = backbone.facts.traits.continues
    for layer in layers:
        layer.compile(dynamic=True, backend=BACKEND, recompile_limit=most, isolate_recompiles=alone)


def as_written(backbone: Any) -> None:
    """Undo `compile_layers`: a run of a sweep left its backbone compiled."""
    for layer in layers_of(backbone.model):
        layer._compiled_call_impl = None


def problem(device: str | None) -> str | None:
    """Why layers cannot be compiled for `runner.device` (null: what there is) on this machine; None where they can."""
    if "isolate_recompiles" not in inspect.signature(torch.compile).parameters:
        return f"runner.compile=true needs a torch that can isolate_recompiles (2.13 can; this is {torch.__version__})"
    if BACKEND != "inductor":
        return None
    found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = (device or found).partition(":")[0]
    if kind == "mps":
        return "runner.compile=true is not offered on mps; set runner.compile=false"
    if kind == "cuda":
        missing = None if find_spec("triton") else "needs triton on a GPU, and it is not installed"
    else:
        compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
        missing = (
            None if shutil.which(compiler) else f"needs a C++ compiler on a CPU, and {compiler!r} is not found (CXX)"
        )
    return f"runner.compile=true {missing}; set runner.compile=false" if missing else None
