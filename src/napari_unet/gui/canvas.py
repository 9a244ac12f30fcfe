"""What the panel needs to know of the window around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtOpenGLWidgets import QOpenGLWidget

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

__all__ = ["make_canvas_current"]


def make_canvas_current(inside: QWidget) -> None:
    """Make OpenGL act on the canvas of the window that a widget is in.

    napari 0.9 frees what a layer had on the graphics card the moment the layer is removed, in whatever OpenGL context
    happens to be current then. Between two frames that is the one in which Qt composes the window: the next frame draws
    with what was freed, and the process dies in ``glDrawArrays``. To be called before a layer goes.

    Parameters
    ----------
    inside : QWidget
        Any widget of the window, also one in a dock that floats.
    """
    window = inside
    while (parent := window.parentWidget()) is not None:
        window = parent
    for canvas in window.findChildren(QOpenGLWidget):
        canvas.makeCurrent()
