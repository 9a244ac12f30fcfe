"""What training gets: copies of the checked planes or volumes, so that correcting can go on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Annotated, Status
from napari_unet.images import label_axes, to_canonical

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.images import Normalization

__all__ = ["checked_parts", "copy_part", "crop_to_checked", "look_for_checked", "make_sample", "snapshot"]


def look_for_checked(status: NDArray[np.uint8], axes: str, spatial_dims: int) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Go through the planes (t, z), for 3-D models the volumes (t,), and say whether something is checked in each.

    Parameters
    ----------
    status : ndarray
    axes : str
        Of the status, letters of ``TZYX``.
    spatial_dims : {2, 3}
    """
    known = to_canonical(status, axes)[:, 0]
    for where in np.ndindex(known.shape[: 4 - spatial_dims]):
        yield where, bool((known[where] == Status.CHECKED).any())


def checked_parts(status: NDArray[np.uint8], axes: str, spatial_dims: int) -> list[tuple[int, ...]]:
    """Return the planes or volumes in which something is checked; the arguments as for `look_for_checked`."""
    return [where for where, is_checked in look_for_checked(status, axes, spatial_dims) if is_checked]


def copy_part(
    labels: NDArray[Any], status: NDArray[np.uint8], axes: str, where: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return copies of labels and status of a plane (t, z) or a volume (t,); `axes` are theirs."""
    volumes, known = (to_canonical(one, axes)[:, 0] for one in (labels, status))
    return volumes[where].copy(), known[where].copy()


def make_sample(
    image: Any,
    axes: str,
    where: tuple[int, ...],
    copied: tuple[NDArray[Any], NDArray[np.uint8]],
    *,
    normalization: Normalization,
    name: str,
    object_diameter_px: float | None = None,
) -> Annotated:
    """Return what training gets of a plane or a volume; the arguments as for `snapshot`, `copied` from `copy_part`."""
    t, *z = where
    pixels = to_canonical(image, axes)
    return Annotated(
        image=np.asarray(pixels[t, :, z[0]] if z else pixels[t]),
        labels=copied[0],
        status=copied[1],
        axes="CYX" if z else "CZYX",
        group=name,
        name=name,
        intensity_range=(normalization.low, normalization.high),
        object_diameter_px=object_diameter_px,
    )


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
    parts: Sequence[tuple[int, ...]] | None = None,
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
    parts : sequence of tuple of int, optional
        What is copied, of `checked_parts`. None: all of them.

    Returns
    -------
    list of Annotated
        Nothing in them is shared with the arguments but the pixels of the image.
    """
    letters = label_axes(axes)
    about: dict[str, Any] = {"normalization": normalization, "name": name, "object_diameter_px": object_diameter_px}
    return [
        make_sample(image, axes, where, copy_part(labels, status, letters, where), **about)
        for where in (checked_parts(status, letters, spatial_dims) if parts is None else parts)
    ]


def crop_to_checked(sample: Annotated, margin: int) -> Annotated:
    """Return the part of a sample around what is checked, with `margin` voxels to each side in Y and X."""
    where = np.argwhere((np.asarray(sample.status) == Status.CHECKED).any(tuple(range(sample.labels.ndim - 2))))
    if not len(where):
        return sample
    low, high = where.min(0) - margin, where.max(0) + 1 + margin
    box = tuple(
        slice(max(0, int(a)), min(n, int(b))) for a, b, n in zip(low, high, sample.labels.shape[-2:], strict=True)
    )
    image, labels, status = (np.array(one[(..., *box)]) for one in (sample.image, sample.labels, sample.status))
    return replace(sample, image=image, labels=labels, status=status)
