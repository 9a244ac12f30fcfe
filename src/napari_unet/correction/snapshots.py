"""What training gets: copies of the checked planes or volumes, so that correcting can go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Annotated, Status
from napari_unet.images import label_axes, to_canonical

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.images import Normalization

__all__ = ["snapshot"]


def snapshot(
    image: Any,
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    axes: str,
    *,
    spatial_dims: int,
    normalization: Normalization,
    name: str,
    object_diameter_px: float | None = None,
) -> list[Annotated]:
    """Copy what is checked, plane by plane for 2-D models, volume by volume for 3-D ones.

    Parameters
    ----------
    image : array
        NumPy or dask, in `axes`.
    labels, status : ndarray
        In the axes of the image without C and S.
    axes : str
    spatial_dims : {2, 3}
    normalization : Normalization
        Of the whole image: the copies are normalised as the image is.
    name : str
    object_diameter_px : float, optional
        Typical diameter of the objects. None: the image is not rescaled.

    Returns
    -------
    list of Annotated
        Nothing in them is shared with the arguments but the pixels of the image.
    """
    pixels = to_canonical(image, axes)
    label_letters = label_axes(axes)
    volumes = to_canonical(labels, label_letters)[:, 0]
    known = to_canonical(status, label_letters)[:, 0]
    frames: list[tuple[int, ...]] = (
        list(np.ndindex(volumes.shape[:2])) if spatial_dims == 2 else [(t,) for t in range(volumes.shape[0])]
    )
    return [
        Annotated(
            image=np.asarray(pixels[t, :, where[1]] if spatial_dims == 2 else pixels[t]),
            labels=volumes[where].copy(),
            status=known[where].copy(),
            axes="CYX" if spatial_dims == 2 else "CZYX",
            group=name,
            name=name,
            intensity_range=(normalization.low, normalization.high),
            object_diameter_px=object_diameter_px,
        )
        for where in frames
        for t in [where[0]]
        if (known[where] == Status.CHECKED).any()
    ]
