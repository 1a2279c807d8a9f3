"""The one HTML file: template, styles and scripts put together; nothing is fetched when it is opened."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from results.report.payload import Payload

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("base.js", "chart.js", "heat.js", "table.js", "overview.js", "runs.js", "figures.js", "run.js", "main.js")


def render(payload: Payload, tables: str = "", audit: str = "", power: str = "") -> str:
    """The page.

    Args:
        payload: what it shows.
        tables, audit, power: HTML of those views, written by this project, hence trusted.
    """
    parts = {
        "title": html.escape(str(payload.index["title"])),
        "style": (ASSETS / "report.css").read_text(encoding="utf-8"),
        "script": "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
        "index": script_json(payload.index),
        "blocks": "\n".join(
            f'<script type="application/octet-stream" id="block-{number}">{block}</script>'
            for number, block in enumerate(payload.blocks)
        ),
        "tables": tables,
        "audit": audit,
        "power": power,
    }
    page = (ASSETS / "report.html").read_text(encoding="utf-8")
    # one pass, so that nothing that a part holds is taken for a place to fill
    return re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], page)


def script_json(value: object) -> str:
    """JSON that may stand inside a script element: no `<` that could end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
