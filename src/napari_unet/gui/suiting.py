"""Which of the models that come along suits an image, as long as the user has chosen none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import UNetError
from napari_unet.models import list_models, load_model
from napari_unet.prediction import DEFAULT_MODEL, default_model, iter_find_model, models_from

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from threading import Event as StopFlag

    from napari.layers import Image

    from napari_unet.gui.workbench import Workbench
    from napari_unet.prediction import Suited

__all__ = ["Suiting"]

_STRANGE = (
    "No model that comes along is sure of such images. Press Try models, or Undo, draw about ten objects, paint some "
    "background, and press Train."
)


class Suiting:
    """Takes up the model that suits the image: by its ground when it is opened, by a look when it is segmented.

    Parameters
    ----------
    workbench : Workbench

    Attributes
    ----------
    why : str
        Why another model than usual is in use, as a sentence; empty where none is.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._found: dict[int, Suited] = {}
        self._news = ""
        self.why = ""

    def suit(self) -> None:
        """Take up the model that suits the image, unless the user has chosen one."""
        bench, models = self._workbench, list_models()
        self.why = self._news = ""
        if bench.choosing.is_users or not models:
            return
        fitting = self._fitting()
        name = next((one for one in (fitting, DEFAULT_MODEL) if one in models), next(iter(models)))
        if name == fitting != DEFAULT_MODEL and id(bench.image) not in self._found:
            self.why = f"Dark on bright ground: {name!r} is chosen."
        if name == self._session.model and bench.spec is not None:
            return
        try:
            bench.choosing.propose(load_model(name), name)
        except UNetError as error:
            self._session.say(str(error), problem=True)

    @property
    def is_open(self) -> bool:
        """Whether the models have still to look at the image: nothing was done in it, and nobody has chosen."""
        bench, spec = self._workbench, self._workbench.spec
        is_asked = spec is not None and spec.usual_sureness is not None and not bench.choosing.is_users
        is_new = bench.document is None and bench.image is not None and id(bench.image) not in self._found
        return is_asked and is_new and bench.problem is None and not bench.documents.has_corrections()

    def find(self, then: Callable[[], None]) -> None:
        """Let the models look at the view, in the background; then do something else, if it is still of this image."""
        bench, session, image = self._workbench, self._session, self._workbench.image
        assert image is not None
        assert bench.spec is not None
        pixels, axes = bench.inputs.pixels(bench.spec) or (image.data, session.axes)
        around, config = bench.sizing.middle, bench.choosing.predict_config().for_another_model()
        models = models_from(session.model)

        def run(stop: StopFlag) -> Generator[Any, None, Suited]:
            return (yield from iter_find_model(pixels, models, axes=axes, at=around, config=config, stop=stop))

        def take(suited: Suited) -> None:
            if bench.image is image:
                self._take(suited, image)

        bench.jobs.start(
            "prediction",
            run,
            on_result=take,
            message="Looking which model suits this image...",
            then=lambda: then() if bench.image is image else None,
        )

    def advice(self) -> str:
        """Return what to do where no model is sure of the image; empty where one is, or the user has chosen."""
        found = self._found.get(id(self._workbench.image))
        is_strange = found is not None and not found.is_known
        return _STRANGE if is_strange and not self._workbench.choosing.is_users else ""

    def news(self) -> str:
        """Return what was not told yet of the model that was taken up."""
        news, self._news = self._news, ""
        return news

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        self._found.pop(id(layer), None)

    def _take(self, suited: Suited, image: Image) -> None:
        bench, session, name = self._workbench, self._session, suited.model.spec.name
        self._found[id(image)] = suited
        if name != session.model:
            self._news = f"{name!r} knows such images better than {session.model!r}: it is chosen."
            bench.choosing.propose(suited.model, name)
            bench.documents.find()
        bench.sizing.take_found(suited.object_size)
        if session.strip:
            bench.choosing.is_users = True  # one model for a folder

    def _fitting(self) -> str:
        """Return the model that was found to suit the image, else that for its ground."""
        bench, image, axes = self._workbench, self._workbench.image, self._session.axes
        found = self._found.get(id(image))
        if found is not None:
            return found.model.spec.name
        if image is None or not axes or bench.problem is not None:
            return DEFAULT_MODEL
        seen = bench.inputs.pixels(bench.spec) if bench.spec is not None else None
        return default_model(*(seen or (image.data, axes)))
