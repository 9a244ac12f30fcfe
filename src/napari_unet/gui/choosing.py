"""Which model is in use, and how it predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import UNetError
from napari_unet.gui.hints import ask_for_truth
from napari_unet.gui.session import Tool
from napari_unet.models import ModelSpec, NetworkSpec, list_models, load_model, named_classes
from napari_unet.prediction import PredictConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import Model

__all__ = ["Choosing"]


class Choosing:
    """Takes up a model of the library, one that was just trained, or begins a new one.

    Parameters
    ----------
    workbench : Workbench

    Attributes
    ----------
    model : Model or None
        The model in use; None for a new one that is not trained yet.
    is_users : bool
        Whether the user has chosen it, or taught it: it stays.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self.model: Model | None = None
        self._draft: ModelSpec | None = None
        self.is_users = False

    def propose(self, model: Model, name: str) -> None:
        """Use a model that the user has not chosen."""
        self._workbench.sizing.forget_found(checked=False)
        self._take(model, name)

    def choose(self, name: str) -> None:
        """Use the model of that name."""
        self.is_users = True
        if name == self._session.model and self.spec is not None:
            return
        self._workbench.sizing.forget_found(checked=False)  # another model may find other objects
        try:
            self.use(load_model(name), name)
        except UNetError as error:
            self._session.say(str(error), problem=True)

    def use(self, model: Model, name: str | None = None) -> None:
        """Use a model that is loaded already."""
        self.is_users = True
        self._workbench.correcting.put_tool_away()
        self._take(model, name or model.spec.name)
        self._workbench.documents.find()
        self._workbench.say_next()

    def _take(self, model: Model, name: str) -> None:
        self._workbench.tuning.forget()
        self.model, self._draft = model, None
        self._session.model = name

    def replace(self, model: Model) -> None:
        """Go on with another form of the model in use, under its name."""
        self.model = model
        self._workbench.update_counts()

    def replace_draft(self, spec: ModelSpec) -> None:
        """Go on with another form of a model that is not trained yet."""
        self._draft = spec
        self._workbench.update_counts()

    def begin(
        self,
        name: str,
        *,
        task: str,
        classes: tuple[str, ...],
        spatial_dims: int,
        channels: tuple[str, ...] = ("image",),
    ) -> bool:
        """Start a model from nothing: makes the empty layer and selects the brush. False if that cannot be."""
        name = name.strip()
        problem = None
        if not name or any(letter in name for letter in '/\\:*?"<>|'):
            problem = "Give the new model a name of letters and digits."
        elif name in list_models():
            problem = f"There is a model {name!r} already. Choose another name."
        elif spatial_dims == 3 and "Z" not in self._session.axes:
            problem = "A 3-D model needs a stack: choose an image with Z."
        if problem is not None:
            self._session.say(problem, problem=True)
            return False
        self._begin(name, task, classes, spatial_dims, channels)
        if self._workbench.documents.ensure() is not None:
            self._workbench.correcting.choose_tool(Tool.DRAW)
            self._session.say(ask_for_truth(self.spec))
        return True

    def begin_again(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Take up a model that was begun and never trained: what it finds, and what a store remembers of it."""
        classes = kind.split(", ")
        semantic = len(classes) > 1
        self._begin(
            str(facts.get("model") or classes[-1]),
            "semantic" if semantic else "instances",
            tuple(classes[1:] if semantic else classes),
            int(facts.get("spatial_dims", 2)),
            tuple(facts.get("channels", ("image",))),
        )
        self._workbench.say_next()

    def _begin(
        self, name: str, task: str, classes: tuple[str, ...], spatial_dims: int, channels: tuple[str, ...]
    ) -> None:
        self.is_users = True
        self._workbench.correcting.put_tool_away()
        self._workbench.tuning.forget()
        self._draft = ModelSpec.model_validate(
            {
                "name": name,
                "task": task,
                "channels": channels,
                "classes": named_classes(classes),
                "network": NetworkSpec.model_validate({"spatial_dims": spatial_dims}),
            }
        )
        self.model = None
        self._session.model = name
        self._workbench.documents.find()

    @property
    def spec(self) -> ModelSpec | None:
        """Spec of the model in use, trained or not."""
        return self.model.spec if self.model is not None else self._draft

    def predict_config(self) -> PredictConfig:
        """Return how to predict: what the user set, else what suits model and machine."""
        session = self._session
        return PredictConfig.model_validate(
            {
                "object_diameter_px": self._workbench.object_size,
                "foreground_threshold": session.foreground_threshold,
                "min_prominence": session.min_prominence,
                "peak_threshold": session.peak_threshold,
                "device": session.device,
                "precision": session.precision,
                "halo": session.halo,
                "link_z": session.link_z,
                "link_t": session.link_t,
                "min_overlap": session.min_overlap,
                "min_size": session.min_size,
                "fill_holes": session.fill_holes,
                "average": session.average,
            }
        )
