"""Words that stand out, in colours that can be read on the light and the dark theme of napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.theme import get_theme

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

__all__ = ["LINK", "set_tone", "tones_on"]

_TONES = {"warning": ("#ff9f0a", "#9a4b00"), "quiet": ("#9aa0a6", "#5f6368")}
"""On dark, and on light."""
LINK = "#3f7be0"
"""Of a link in a text, whose colour no style sheet reaches: for both."""


def set_tone(widget: QWidget, tone: str) -> None:
    """Show the words of a widget in a tone, "warning" or "quiet"; empty: as all the others."""
    if widget.property("tone") != tone:
        widget.setProperty("tone", tone)
        style = widget.style()
        if style is not None:  # Qt looks at properties only once
            style.unpolish(widget)
            style.polish(widget)


def tones_on(theme: str) -> str:
    """Return the style sheet that makes the tones what they are on a theme of napari."""
    is_light = sum(get_theme(theme).background.as_rgb_tuple()[:3]) > 3 * 128
    return " ".join(f'*[tone="{name}"] {{ color: {colors[is_light]}; }}' for name, colors in _TONES.items())
