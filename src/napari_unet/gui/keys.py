"""Keys that act in the whole window, whichever layer is active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

__all__ = ["Keys"]


class Keys:
    """Binds keys of the viewer until they are released. The keys of the active layer come first.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._before: dict[str, Any] = {}

    def bind(self, key: str, act: Callable[[], None]) -> None:
        """Let a key do something."""

        def press(_: Any) -> None:
            act()

        self._before[key] = self._viewer.bind_key(key, press, overwrite=True)

    def release(self) -> None:
        """Give the keys back to whoever had them. Harmless a second time."""
        for key, before in self._before.items():
            self._viewer.bind_key(key, before, overwrite=True)
        self._before.clear()
