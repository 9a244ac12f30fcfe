"""How to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from napari_unet.models import DecoderSpec

__all__ = ["DECODING", "PredictConfig"]

DECODING = ("foreground_threshold", "min_prominence", "peak_threshold", "min_size", "fill_holes")
"""Settings that turn maps into labels: each model has its own."""


class PredictConfig(BaseModel):
    """How to predict. Every field has a default that suits this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tile: tuple[int, ...] | None = None
    """Voxels that the network sees at once, halo included, per axis. None: planned from the free memory."""
    batch: int | None = Field(default=None, ge=1)
    """Tiles per forward pass. None: planned."""
    halo: Literal["auto", "exact", "blended"] = "auto"
    """What the network sees around a tile. exact: all that it depends on, so that tiles leave no trace. blended: less,
    and neighbours are blended, which is faster and nearly the same. auto: exact, but blended in volumes where exact
    would take more than one and a half times as long."""
    device: str = "auto"
    """cuda, mps or cpu. auto: the best one that works."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the network. auto: half precision where the hardware computes it, else float32, which is the
    reproducible one."""
    channels: tuple[int, ...] | None = None
    """Channels of the image that feed the model, counted from 0. None: all of them."""
    object_diameter_px: float | None = Field(None, ge=2, le=2000)
    """Typical diameter of the objects in the image, in pixels, or the width of long ones; the image is rescaled so that
    they are as large as those that the model was trained on. None: not rescaled."""
    foreground_threshold: float | None = Field(default=None, gt=0, lt=1)
    """Voxels with a foreground map above this belong to objects. None: the model's."""
    min_prominence: float | None = Field(default=None, gt=0, lt=1)
    """Objects are divided where the distance maps dip between two peaks by this share of the lower one: lower divides
    more, higher merges. None: the model's."""
    peak_threshold: float | None = Field(default=None, ge=0, lt=1)
    """Objects that the network is less sure of are left out: those whose distance maps stay below this. None: the
    model's."""
    min_size: int | None = Field(default=None, ge=0)
    """Smaller objects are left out, in voxels. None: the model's."""
    fill_holes: bool | None = None
    """Fill the holes of objects: background that one object alone encloses. None: the model's: a training
    sets it by whether the checked objects have holes."""
    average: bool = False
    """Average over the eight flips and quarter turns of the plane, as the 2015 paper does: a little better, eight times
    slower."""
    link_z: bool = True
    """Link the objects that a model of planes finds in the slices of a stack into 3-D objects."""
    link_t: bool = False
    """Link objects through time: the same id in the next frame. No tracking: what was lost is not found again."""
    min_overlap: float = Field(default=0.5, gt=0, le=1)
    """Objects of neighbouring slices or frames are linked where this share of the smaller lies on the other."""

    def decoder(self, of_model: DecoderSpec) -> DecoderSpec:
        """Return the model's decoder with what is set here."""
        chosen = {name: getattr(self, name) for name in DECODING if getattr(self, name) is not None}
        return of_model.model_copy(update=chosen)

    def for_another_model(self) -> PredictConfig:
        """Return the same without what was chosen for the maps of one model."""
        return self.model_copy(update=dict.fromkeys(DECODING))
