"""What a model is, apart from its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from napari_unet.network import UNet

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "FORMAT_VERSION",
    "ClassSpec",
    "DecoderSpec",
    "MapSpec",
    "Model",
    "ModelSpec",
    "NetworkSpec",
    "inverted",
    "named_classes",
]

FORMAT_VERSION = 1
_COLORS = ("#ffcc00", "#ff453a", "#0a84ff", "#bf5af2", "#ff9f0a", "#64d2ff")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ClassSpec(_Frozen):
    """A class or a kind of object."""

    name: str
    color: str = "#ffcc00"


def named_classes(names: Iterable[str], *, after: int = 0) -> tuple[ClassSpec, ...]:
    """Return classes of these names, each in a colour of its own as far as they go.

    Parameters
    ----------
    names : iterable of str
    after : int
        How many classes there are before them.
    """
    return tuple(ClassSpec(name=name, color=_COLORS[n % len(_COLORS)]) for n, name in enumerate(names, start=after))


class NetworkSpec(_Frozen):
    """Arguments of `UNet` that are not given by the channels and maps."""

    spatial_dims: Literal[2, 3] = 2
    features: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (32, 64, 96, 128, 160)
    """Features per level. Four poolings as in the paper, so that it sees 92 px around a voxel; narrower than
    the paper's below, so that a CPU trains it in minutes and its file has 7.5 MB."""
    padding: Literal["same", "valid"] = "same"
    norm: Literal["batch", "none"] = "batch"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    flat_levels: int = Field(default=0, ge=0)


class MapSpec(_Frozen):
    """One map that the network predicts, and what its last activation is."""

    name: str
    activation: Literal["sigmoid", "softmax"]


class DecoderSpec(_Frozen):
    """How labels are made from maps. Re-tuned without running the network again."""

    kind: Literal["seeded_watershed", "components", "argmax"] = "seeded_watershed"
    """components: the connected components of the foreground, where the network draws gaps between objects."""
    foreground_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Voxels with a foreground map above this belong to objects."""
    min_prominence: float = Field(default=0.25, gt=0, lt=1)
    """Objects are divided where the distance maps dip between two peaks by this share of the lower one. Lower divides
    more, higher merges. The default suits models of different kinds untuned (docs/training.md)."""
    peak_threshold: float = Field(default=0.0, ge=0, lt=1)
    """Objects in which the distance maps stay below this are left out: the network is not sure of them. Where it is,
    both reach 1. 0: none is left out."""
    min_size: int = Field(default=15, ge=0)
    """Smaller objects are left out, in voxels; their holes count where they are filled."""
    fill_holes: bool = True
    """Whether background that one object alone encloses becomes part of it: nucleoli and vacuoles leave holes in the
    foreground of objects that have none. False where they have, as rings and lumens: a training finds that out."""

    @model_validator(mode="before")
    @classmethod
    def _from_before(cls, values: Any) -> Any:
        """Read a file from before objects were divided by prominence."""
        return {name: value for name, value in dict(values).items() if name != "seed_threshold"}


INSTANCE_MAPS = (
    MapSpec(name="foreground", activation="sigmoid"),
    MapSpec(name="boundary_distance", activation="sigmoid"),
    MapSpec(name="centre_distance", activation="sigmoid"),
)

BORDER_MAPS = (MapSpec(name="foreground", activation="softmax"), MapSpec(name="background", activation="softmax"))
"""Maps of an instance model that is decoded by components, as in the paper."""


class ModelSpec(_Frozen):
    """Everything about a model that is not a weight: kept in the header of its file.

    Examples
    --------
    >>> ModelSpec(name="cells", channels=("DAPI", "actin")).in_channels
    2
    """

    name: str = Field(default="unnamed", min_length=1)
    format_version: int = FORMAT_VERSION
    task: Literal["instances", "semantic"] = "instances"
    classes: Annotated[tuple[ClassSpec, ...], Field(min_length=1, max_length=255)] = (ClassSpec(name="object"),)
    """Kinds of object, without the background. An instance model has one."""
    channels: Annotated[tuple[str, ...], Field(min_length=1)] = ("image",)
    """Names of the input channels."""
    object_diameter_px: float | None = Field(default=None, gt=0)
    """Median diameter of the objects it was trained on, in pixels."""
    usual_sureness: float | None = Field(default=None, gt=0.6, le=1)
    """Mean peak of the last distance map over the objects of images like those it learned from, which it has not seen.
    Where a model is much less sure, it does not know such images. None: not known."""
    percentiles: tuple[float, float] = (1.0, 99.8)
    """Intensity percentiles of an image that become 0 and 1. The larger one first: objects are darker than the ground,
    and the network sees them bright (`inverted`)."""
    network: NetworkSpec = NetworkSpec()
    maps: tuple[MapSpec, ...] = ()
    """Maps in the order of the output channels. Empty: those of the task."""
    decoder: DecoderSpec = DecoderSpec()
    provenance: dict[str, Any] = {}
    """Parent's hash, data, settings, scores, date, software."""

    @model_validator(mode="before")
    @classmethod
    def _maps_of_the_task(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("maps"):
            values = dict(values)
            if values.get("task", "instances") == "semantic":
                classes = values.setdefault("classes", (ClassSpec(name="object"),))
                names = ["background", *(ClassSpec.model_validate(c).name for c in classes)]
                values["maps"] = tuple(MapSpec(name=name, activation="softmax") for name in names)
                values.setdefault("decoder", DecoderSpec(kind="argmax"))
            else:
                decoder = DecoderSpec.model_validate(values.get("decoder", {}))
                values["maps"] = BORDER_MAPS if decoder.kind == "components" else INSTANCE_MAPS
        return values

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not 0 <= min(self.percentiles) < max(self.percentiles) <= 100:
            raise ValueError(f"percentiles are two numbers from 0 to 100, not {self.percentiles}")
        if self.task == "semantic" and len(self.maps) != len(self.classes) + 1:
            raise ValueError("a semantic model has one map for the background and one for each class")
        if (self.decoder.kind == "argmax") != (self.task == "semantic"):
            raise ValueError("classes are decoded by 'argmax', objects by 'seeded_watershed' or 'components'")
        wanted = BORDER_MAPS if self.decoder.kind == "components" else INSTANCE_MAPS
        if self.task == "instances" and (len(self.classes) != 1 or len(self.maps) != len(wanted)):
            raise ValueError(
                "an instance model finds one kind of object, from three maps, or two for components; two kinds are two "
                "models"
            )
        if len({one.activation for one in self.maps}) != 1:
            raise ValueError("all maps of a model have the same activation")
        return self

    @classmethod
    def ronneberger2015(cls, name: str = "unnamed", channels: tuple[str, ...] = ("image",)) -> ModelSpec:
        """Return the paper's model: valid convolutions, 64 to 1024 features, objects apart by drawn borders.

        Train it with `TrainConfig.ronneberger2015()`.

        References
        ----------
        .. [1] Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, figure 1.
        """
        network = NetworkSpec(features=(64, 128, 256, 512, 1024), padding="valid", norm="none", dropout=0.5)
        return cls(name=name, channels=channels, network=network, decoder=DecoderSpec(kind="components"))

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return len(self.channels)

    @property
    def spatial_dims(self) -> int:
        """2 for a model of planes, 3 for a model of volumes."""
        return self.network.spatial_dims

    @property
    def linked_axes(self) -> str:
        """Axes of an image through which it goes step by step: what it finds in one step is linked to the next."""
        return "TZ" if self.spatial_dims == 2 else "T"

    @property
    def kind(self) -> str:
        """What it finds: corrections of another kind are kept apart, pixels of a class from objects of that name."""
        names = ", ".join(one.name for one in self.classes)
        return f"background, {names}" if self.task == "semantic" else names

    @property
    def knows_size(self) -> bool:
        """Whether it finds objects, and knows how large they were that it learned from."""
        return self.task == "instances" and self.object_diameter_px is not None

    def scale_for(self, object_diameter_px: float | None) -> float:
        """Return the factor that brings objects of a size to that of the model; within a tenth of 1 it is 1."""
        if object_diameter_px is None or self.object_diameter_px is None:
            return 1.0
        scale = self.object_diameter_px / object_diameter_px
        return scale if abs(scale - 1) > 0.1 else 1.0

    def build_network(self) -> UNet:
        """Return a network of this architecture with fresh weights."""
        arguments = self.network.model_dump()
        return UNet(in_channels=self.in_channels, out_channels=len(self.maps), **arguments)


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its spec: one kind of object, or classes.

    Attributes
    ----------
    network : UNet
        A plain `torch.nn.Module`, its output linear.
    spec : ModelSpec
    """

    network: UNet
    spec: ModelSpec


def inverted(model: Model) -> Model:
    """Return a model of bright objects on dark ground as one of dark objects on bright ground, or vice versa.

    Its weights are the same; intensities are turned over before the network sees them. A good start for stained tissue
    and bright field, where a model of fluorescence takes the ground for objects.

    Examples
    --------
    >>> inverted(Model(ModelSpec().build_network(), ModelSpec())).spec.percentiles
    (99.8, 1.0)
    """
    low, high = model.spec.percentiles
    return Model(model.network, model.spec.model_copy(update={"percentiles": (high, low)}))
