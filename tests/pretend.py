"""A device that computes on the CPU and still is another device: mixing the two is an error, waiting for it is counted.

A GPU has two common faults that no CPU shows: tensors of two devices meeting, and a step that waits for the device
(`.item()`, `.tolist()`, `nonzero`, a boolean index, a copy to the host). PyTorch's PrivateUse1 hook gives the name
`pretend`; `Pretend` is a tensor subclass that holds a CPU tensor and reports that device. Everything is computed, so
a test sees the CPU's own values.

    with pretend.device() as device:
        model.to(device)
        with pretend.waits() as seen:
            step()
        assert not seen
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
ROOT = str(Path(__file__).resolve().parents[1])
OWN = __file__
aten = torch.ops.aten
HOST_READS = {  # what a GPU must have finished for: their result is a Python number, or a shape that depends on values
    aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.is_nonzero.default,
    aten.masked_select.default, aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
}  # fmt: skip
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
_counts: list[Counter[str]] = []


def _count(what: str) -> None:
    """Note a wait under the line of the project that caused it."""
    if not _counts:
        return
    frames = traceback.extract_stack()
    own = [f for f in frames if f.filename.startswith(ROOT) and f.filename != OWN and "/.venv/" not in f.filename]
    where = f"{own[-1].filename[len(ROOT) + 1 :]}:{own[-1].lineno}" if own else "?"
    _counts[-1][f"{what} {where}"] += 1


class Pretend(torch.Tensor):
    """A CPU tensor that says it lives on the pretend device."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Pretend:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=torch.device(NAME, 0), requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Pretend({self.inner!r})"

    def tolist(self) -> Any:
        _count("tolist")
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Pretend) else value


def _count_sent(source: torch.Tensor, asynchronous: bool | None) -> None:
    """A copy to the device waits for all that was asked of it before, unless it is told not to (or copies nothing)."""
    if source.numel() and not asynchronous:
        _count("copy from the host")


def _copy(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """`.to(...)`: between the devices, or a change of type on one of them."""
    source, options = args[0], dict(kwargs)
    device = options.pop("device", None)
    target = torch.device(device).type if device is not None else source.device.type
    if isinstance(source, Pretend) and target == "cpu":
        _count("copy to the host")
    if target == NAME and not isinstance(source, Pretend):
        _count_sent(source, options.get("non_blocking"))
    made = func(_inner(source), **options)
    return Pretend(made) if target == NAME else made


def _refuse_mixing(func: Any, flat: list[Any]) -> None:
    here = [t for t in flat if isinstance(t, torch.Tensor) and not isinstance(t, Pretend) and t.dim() > 0]
    there = [t for t in flat if isinstance(t, Pretend)]
    if here and there and func not in INDEXING:
        raise RuntimeError(f"{func}: a tensor of the host, {tuple(here[0].shape)}, meets one of the device")


def _note(func: Any, args: Any) -> None:
    if func in HOST_READS:
        _count(func._schema.name.split("::")[1])
    if func in INDEXING:
        chosen = [t for t in args[1] if isinstance(t, torch.Tensor)]
        if any(t.dtype in (torch.bool, torch.uint8) for t in chosen):
            _count("boolean index")
        if any(not isinstance(t, Pretend) for t in chosen):
            _count("index from the host")


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func is aten._to_copy.default:
        return _copy(func, args, kwargs)
    if func is aten.copy_.default:
        if isinstance(args[1], Pretend) and not isinstance(args[0], Pretend):
            _count("copy to the host")
        elif isinstance(args[0], Pretend) and not isinstance(args[1], Pretend):
            _count_sent(args[1], kwargs.get("non_blocking") or any(args[2:3]))
        _inner(args[0]).copy_(_inner(args[1]))
        return args[0]
    flat, _ = tree_flatten((args, kwargs))
    _refuse_mixing(func, flat)
    _note(func, args)
    options = tree_map(_inner, kwargs)
    if options.get("device") is not None:
        options["device"] = torch.device("cpu")
    out = func(*tree_map(_inner, args), **options)
    if func is aten._local_scalar_dense.default:
        return out
    known = {id(t.inner): t for t in flat if isinstance(t, Pretend)}  # an operation in place gives back its argument
    return tree_map(lambda t: _wrapped(t, known), out)


def _wrapped(value: Any, known: dict[int, Pretend]) -> Any:
    if not isinstance(value, torch.Tensor) or isinstance(value, Pretend):
        return value
    return known[id(value)] if id(value) in known else Pretend(value)


def _made_by(func: Any) -> Callable[..., Pretend]:
    def make(*args: Any, **kwargs: Any) -> Pretend:
        options = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory", "layout")}
        return Pretend(func(*args, **options, device="cpu"))

    return make


@cache
def register() -> tuple[torch.library.Library, torch.library.Library]:
    """Give the device its name and its factories, once in a process; the libraries must stay alive.

    The first backward pass of a process makes one queue per device that is there, so this comes before it
    (tests/conftest.py).
    """
    _setup_privateuseone_for_python_backend(NAME)
    backend = getattr(torch, NAME)  # a checkpointed pass asks it, also where everything is on the CPU
    backend.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    own, every = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    factories = (
        aten.empty.memory_format, aten.empty_strided.default, aten.arange.default, aten.arange.start,
        aten.arange.start_step, aten.eye.default, aten.eye.m, aten.linspace.default, aten.full.default,
        aten.ones.default, aten.zeros.default, aten.tril_indices.default, aten.triu_indices.default,
        aten.scalar_tensor.default,
    )  # fmt: skip
    for func in factories:
        name, overload = func._schema.name.split("::")[1], func._schema.overload_name
        own.impl(f"{name}.{overload}" if overload else name, _made_by(func), "PrivateUse1")
    every.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")
    return own, every


_tensor = torch.tensor


def _tensor_on(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
    made = _tensor(data, *args, **kwargs)
    return made if device is None else made.to(device)


def _enter(self: Any) -> None:
    """Inference tensors know no subclasses; without gradients is the same to what is tested."""
    self.instead = torch.no_grad()
    self.instead.__enter__()


def _leave(self: Any, *error: Any) -> None:
    self.instead.__exit__(*error)


@contextmanager
def device() -> Iterator[torch.device]:
    """The pretend device; while it is used `torch.tensor(..., device=)` and inference mode take a detour."""
    register()
    with (
        mock.patch.object(torch, "tensor", _tensor_on),
        mock.patch.multiple(torch.inference_mode, __enter__=_enter, __exit__=_leave),
    ):
        yield torch.device(NAME, 0)


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Counts what waits for the device, by kind and line of the project."""
    _counts.append(Counter())
    try:
        yield _counts[-1]
    finally:
        _counts.pop()
