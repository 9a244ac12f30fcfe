"""The pages say what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from napari_unet.gui.tools import ACTION_KEYS, TOOLS

DOCS = Path(__file__).parents[1] / "docs"
SPELLED = {",": "`,`", ".": "`.`"}


def spelled(key: str) -> str:
    """Return a key as the page writes it."""
    return SPELLED.get(key, key.replace("-", "+"))


def table(page: str, heading: str) -> list[list[str]]:
    """Return the rows below a heading of a table, without the two of its head."""
    part = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_page_on_correcting_has_every_tool_with_its_key_and_sentence() -> None:
    page = (DOCS / "correct.md").read_text(encoding="utf-8")
    tools = [[f"**{tool.text}**", spelled(tool.key), tool.does] for tool in TOOLS.values()]
    assert table(page, "Tools") == tools, "\n".join(f"| {' | '.join(row)} |" for row in tools)
    assert [row[1] for row in table(page, "Buttons and keys")] == [spelled(key) for key in ACTION_KEYS.values()]


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in (*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
