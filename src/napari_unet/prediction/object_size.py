"""How large objects are: in labels, and in an image, where the model itself finds out by looking at several scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage as ndi

from napari_unet.events import Notice
from napari_unet.generators import Steps, drained
from napari_unet.images import Normalization, measure_normalization
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predict import iter_predict
from napari_unet.prediction.view import View, frame_of, known_axes, select_channels, viewed

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.models import Model, ModelSpec

__all__ = ["Look", "diameter", "find_object_size", "iter_find_object_size", "iter_surest_look", "median_diameter"]

_MAX_OBJECTS = 500
_LONGER = 1.25

_SCALES = (1.0, 0.5, 0.25, 0.125)
_LARGER = 2.0
"""Scale that is looked at only where objects are small: it takes longest."""
_WINDOW = {2: (1, 512, 512), 3: (32, 192, 192)}
"""Voxels (``ZYX``) that the network sees at each scale, for models of planes and of volumes."""
_SMALLEST = 32
"""Pixels of a side below which an image at a scale says nothing."""
_FEWEST = 3
"""Objects that a scale must show to count."""
_CREDIBLE = (0.6, 3.0)
"""How large, in diameters that the model knows, objects may be on the grid it sees: what looks smaller or larger is
fragments or clusters. Networks tolerate large objects better than small ones."""
_AT_HOME = (0.6, 1.7)
"""Objects this large, in diameters that the model knows, are found best as they are."""


def find_object_size(
    image: Any,
    model: Model,
    *,
    axes: str | None = None,
    at: Mapping[str, int] | None = None,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
) -> float | None:
    """Find out how large the objects are, where they differ from those that the model learned from.

    The model looks at a window of the image at scales from an eighth to one, and twice where objects are small. It is
    surest of its objects (highest mean peak of the last distance map) at the scale where they look like those it knows;
    their median diameter there, in pixels of the image, is the object size. `benchmarks/object_size.py` tells how much
    better than no rescaling that is.

    Parameters
    ----------
    image : array
        As for `predict`.
    model : Model
    axes : str, optional
    at : mapping of axis letter to int, optional
        Centre of the window, axes of ``TZYX``. Default: the middle of the image.
    normalization : Normalization, optional
        Of the whole image. None: measured.
    config : PredictConfig, optional
        Device, channels and thresholds; its object size is not regarded.

    Returns
    -------
    float or None
        Typical diameter in whole pixels, for `PredictConfig.object_diameter_px`. None: about as large as the model
        knows them (0.6 to 1.7 times), nothing credible was found, or the model does not know a size.

    Raises
    ------
    ImageError
        If the image does not fit the model.

    Examples
    --------
    >>> size = find_object_size(image, model)  # doctest: +SKIP
    >>> predict(image, model, config=PredictConfig(object_diameter_px=size))  # doctest: +SKIP
    """
    return drained(iter_find_object_size(image, model, axes=axes, at=at, normalization=normalization, config=config))


def iter_find_object_size(
    image: Any,
    model: Model,
    *,
    axes: str | None = None,
    at: Mapping[str, int] | None = None,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
    stop: StopFlag | None = None,
) -> Generator[Notice, None, float | None]:
    """Find the object size step by step: as `find_object_size`, yielding what the device has to say."""
    look = yield from iter_surest_look(
        image, model, axes=axes, at=at, normalization=normalization, config=config, stop=stop
    )
    return None if look is None else look.object_size(model.spec)


def iter_surest_look(
    image: Any,
    model: Model,
    *,
    axes: str | None = None,
    at: Mapping[str, int] | None = None,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
    stop: StopFlag | None = None,
) -> Generator[Notice, None, Look | None]:
    """Look at a window at several scales, step by step; return what the model finds where it is surest.

    Arguments as for `find_object_size`. None where it finds nothing credible, or does not know a size.
    """
    spec = model.spec
    known = spec.object_diameter_px
    if not spec.knows_size or known is None:
        return None
    config = config or PredictConfig()
    axes = known_axes(image, axes)
    canonical = select_channels(viewed(image, axes), spec, config.channels, are_colours="S" in axes)
    normalization = normalization or measure_normalization(canonical, spec.percentiles)
    seen: list[Look] = []
    for scale in (*_SCALES, _LARGER):
        if scale == _LARGER and any(one.scale == 1 and one.diameter >= _CREDIBLE[0] * known for one in seen):
            break
        pixels = _window(canonical, spec.spatial_dims, scale, at or {}, normalization)
        if pixels is not None:
            look = yield from _look(pixels, model, scale, config, stop)
            seen.extend([look] if look is not None else [])
    credible = [one for one in seen if _CREDIBLE[0] <= one.diameter / known <= _CREDIBLE[1]]
    return max(credible, key=lambda one: one.sureness, default=None)


class Look(NamedTuple):
    """What a model finds in a window at one scale.

    Attributes
    ----------
    scale : float
    diameter : float
        Median of the objects, on the grid that the network sees.
    sureness : float
        Mean over the objects of the peak of the last map.
    objects : int
    covered : float
        Share of the window that lies in objects.
    """

    scale: float
    diameter: float
    sureness: float
    objects: int
    covered: float

    def object_size(self, spec: ModelSpec) -> float | None:
        """Return the diameter in whole pixels of the image; None where it is about the one that the model knows."""
        size = float(np.clip(round(self.diameter / self.scale), 2, 2000))
        known = spec.object_diameter_px
        return None if known is None or _AT_HOME[0] <= size / known <= _AT_HOME[1] else size


def _window(
    canonical: Any, spatial_dims: int, scale: float, at: Mapping[str, int], normalization: Normalization
) -> NDArray[np.float32] | None:
    """Return a window of an image (``C(Z)YX``), normalised, as the network sees it at a scale; None if too small."""
    sizes = dict(zip("TCZYX", canonical.shape, strict=True))
    if min(sizes["Y"], sizes["X"]) * scale < _SMALLEST:
        return None
    middle = {letter: min(at.get(letter, n // 2), n - 1) for letter, n in sizes.items()}
    parts = []
    for letter, n in zip("ZYX", _WINDOW[spatial_dims], strict=True):
        length = min(sizes[letter], n if letter == "Z" else round(n / scale))
        start = max(0, min(middle[letter] - length // 2, sizes[letter] - length))
        parts.append(slice(start, start + length))
    wanted = parts if spatial_dims == 3 else parts[1:]
    frame = frame_of(canonical, middle["T"], None if spatial_dims == 3 else middle["Z"])
    view = View(wanted, canonical.shape[2:], scale)
    pixels, prepare = view.source(frame, normalization)
    seen: NDArray[np.float32] = prepare(np.asarray(pixels[(slice(None), *view.region)]))
    return seen


def _look(
    pixels: NDArray[np.float32], model: Model, scale: float, config: PredictConfig, stop: StopFlag | None
) -> Generator[Notice, None, Look | None]:
    """Let the model find objects in a window at a scale; None where it finds too few."""
    channels = len(pixels)
    steps = Steps(
        iter_predict(
            pixels,
            model,
            axes="CZYX" if pixels.ndim == 4 else "CYX",
            config=config.model_copy(update={"object_diameter_px": None, "channels": None, "tile": None}),
            normalization=Normalization((0.0,) * channels, (1.0,) * channels),
            return_maps=True,
            stop=stop,
        )
    )
    for event in steps:
        if isinstance(event, Notice):
            yield event
    labels, maps = steps.result.labels, steps.result.maps
    assert maps is not None
    ids = np.unique(labels[labels > 0])
    typical = median_diameter(labels)
    if len(ids) < _FEWEST or typical is None:
        return None
    sureness = float(np.mean(ndi.maximum(maps[-1], labels, ids)))
    return Look(scale, typical, sureness, len(ids), np.count_nonzero(labels) / labels.size)


def median_diameter(labels: NDArray[Any]) -> float | None:
    """Return the typical diameter of the objects, in voxels; None without objects.

    That of a disc or ball as large; for long objects no more than 1.25 times their width (the largest disc inside,
    in any plane): scaled by their length, thin ones would vanish.

    Parameters
    ----------
    labels : ndarray of int
        ``(Z)YX``. Of more than 500 objects 500 are looked at.

    Examples
    --------
    >>> rod = np.zeros((12, 100), int)
    >>> rod[3:10, 5:95] = 1
    >>> median_diameter(rod)
    10.0
    """
    numbers, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (0 if numbers.size and numbers[0] == 0 else 1)
    boxes = list(enumerate(ndi.find_objects(compact), start=1))
    if not boxes:
        return None
    every = -(-len(boxes) // _MAX_OBJECTS)
    return float(np.median([diameter(compact[box] == number) for number, box in boxes[::every]]))


def diameter(inside: NDArray[np.bool_]) -> float:
    """Return the diameter of one object (``(Z)YX``) as `median_diameter` counts it."""
    size = int(np.count_nonzero(inside))
    as_large: float = 2 * (size / np.pi) ** 0.5 if inside.ndim == 2 else 2 * (3 * size / (4 * np.pi)) ** (1 / 3)
    # within planes: how many slices an object has says little
    sampling = (1e6,) * (inside.ndim - 2) + (1, 1)
    width = 2 * float(ndi.distance_transform_edt(np.pad(inside, 1), sampling).max())
    return float(min(as_large, _LONGER * width))
