"""SPoT: soft prompt transfer (Vu et al. 2022): a prompt that starts from a source task's run."""

from __future__ import annotations

from typing import ClassVar

from methods.pt import PT


class SPoT(PT):
    """Prompt tuning whose prompt was trained on a source task before (`method.init_from`)."""

    needs_source: ClassVar[bool] = True
