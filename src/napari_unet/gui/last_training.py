"""What a training belongs to: its curve and its verdict mean nothing for another image or model."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_unet.gui.workbench import Workbench

__all__ = ["LastTraining"]


class LastTraining:
    """Keeps `trained_elsewhere` of the session up to date.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._is_here: Callable[[], bool] = lambda: True
        self._models: set[str] = set()
        self._told = ""
        for name in ("model", "strip", "is_elsewhere", "image"):
            getattr(self._session.events, name).connect(self._tell)

    def begin(self, image: Image) -> None:
        """Note that a training begins, of the open folder or of the image."""
        bench, session = self._workbench, self._session
        project = bench.projects.project
        if project is not None:
            folder = project.folder
            self._is_here = lambda: (now := bench.projects.project) is not None and now.folder == folder
        else:
            own = ref(image)
            self._is_here = lambda: bool(session.image) and bench.image is own()
        self._models = {session.model}
        self._told = f"on {session.image if project is None else project.folder.name}, from {session.model!r}"
        self._tell()

    def led_to(self, model: str) -> None:
        """Note the name of the model that it ended in."""
        self._models.add(model)

    def _tell(self) -> None:
        is_here = not self._models or (self._session.model in self._models and self._is_here())
        self._session.trained_elsewhere = "" if is_here else self._told
