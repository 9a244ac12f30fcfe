"""The tools of the second step: their names, keys and sentences."""

from __future__ import annotations

from dataclasses import dataclass

from napari_unet.gui.session import Tool

__all__ = ["ACTION_KEYS", "TOOLS", "ToolInfo"]


@dataclass(frozen=True)
class ToolInfo:
    """What the panel says of a tool.

    Attributes
    ----------
    text : str
        On its button.
    key : str
        In napari's spelling. None of these is a key of napari's labels or of its viewer.
    does : str
        The tooltip.
    hint : str
        The status line while it is in use.
    mode : str
        Of the labels layer.
    for_stacks : bool
        Whether it works through slices.
    in_planes : bool
        Whether it works in the 2-D display only.
    """

    text: str
    key: str
    does: str
    hint: str
    mode: str = "pick"
    for_stacks: bool = False
    in_planes: bool = False


TOOLS = {
    Tool.DRAW: ToolInfo(
        "New object", "N",
        "Draw a new object, or extend the one where the stroke starts. Hold Shift to paint over its neighbours.",
        "New object: a stroke on background makes one, a stroke on an object extends it.",
        mode="paint", in_planes=True,
    ),
    Tool.BACKGROUND: ToolInfo(
        "Background", "G",
        "Erase, and tell that nothing is here; also where nothing was found.",
        "Background: paint where nothing is; it erases what is there.",
        mode="erase", in_planes=True,
    ),
    Tool.IGNORE: ToolInfo(
        "Ignore", "I",
        "Never learn from this, nor count it: debris. Paint over it, or click an object.",
        "Ignore: paint over debris, or click an object. The labels stay.",
    ),
    Tool.PROPOSE: ToolInfo(
        "Propose", "A",
        "Outlines a missed object under the mouse; a click accepts it.",
        "Propose: move over a missed object and click. Shift+wheel, or the keys '.' and ',': larger or smaller.",
        in_planes=True,
    ),
    Tool.CONFIRM: ToolInfo(
        "Is right", "R",
        "Click objects that are outlined as they should be.",
        "Is right: click objects that are outlined as they should be.",
    ),
    Tool.FORGET: ToolInfo(
        "Forget", "U",
        "Take a check back: predictions may change it again. Paint over it, or click an object.",
        "Forget: paint, or click an object: it is unchecked again. The labels stay.",
    ),
    Tool.DELETE: ToolInfo(
        "Delete", "D",
        "Click an object that is not there.",
        "Delete: click an object that is not there.",
    ),
    Tool.MERGE: ToolInfo(
        "Merge", "J",
        "Click two objects that are one.",
        "Merge: click an object, then the one that belongs to it.",
    ),
    Tool.SPLIT: ToolInfo(
        "Split", "S",
        "Draw a line across an object; or click in the middle of each part and press Enter.",
        "Split: draw a line across, or click in the middle of each part and press Enter.",
        in_planes=True,
    ),
    Tool.HOLES: ToolInfo(
        "Fill holes", "H",
        "Click an object to fill its holes.",
        "Fill holes: click an object.",
    ),
    Tool.EXTEND: ToolInfo(
        "Extend in z", "T",
        "Click an object in the slice where it ends: it is continued in the next one.",
        "Extend in z: click an object in the slice where it ends. Shift+click goes down.",
        for_stacks=True, in_planes=True,
    ),
    Tool.INTERPOLATE: ToolInfo(
        "Interpolate", "Shift-T",
        "Fill the slices between: click an object, then the same one in another slice.",
        "Interpolate: click an object, go to another slice, click it there.",
        for_stacks=True,
    ),
}  # fmt: skip
"""In the order of the panel, three in a row."""

ACTION_KEYS = {
    "complete": "K",
    "next": "Q",
    "right_next": "W",
    "larger": ".",
    "smaller": ",",
    "undo": "Control-Z",
    "redo": "Control-Shift-Z",
}
"""Keys of what is not a tool."""
