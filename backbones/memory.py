"""Host memory of models whose matrices come and go (layers in parts or in few bits)."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 1 << 16  # bytes


def give_large_blocks_back() -> None:
    """From here on glibc gives freed blocks of `LARGE` bytes back to the system at once.

    By itself it raises that threshold to 32 MB with the blocks that it sees freed; matrices that are made for one layer
    and freed again then leave holes between activations, and a process grows to the size of the whole model.
    """
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
