"""ImageJ ROIs: outlines of objects for Fiji's ROI Manager, and labels from outlines that were drawn there."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.errors import ImageError
from napari_unet.generators import drained
from napari_unet.images.atomic import written_at_once
from napari_unet.images.axes import label_planes, to_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray
    from roifile import ImagejRoi

__all__ = ["iter_rois_to_labels", "labels_to_rois", "read_rois", "rois_to_labels", "write_rois"]

_OWN_NAME = re.compile(r"(\d+)(?:_t\d+)?(?:_z\d+)?")


def labels_to_rois(labels: Any, axes: str) -> Iterator[ImagejRoi]:
    """Yield the outline of each object in each plane, along the edges of its pixels: nothing is lost.

    An object of several parts, or with holes, is a composite ROI. In a stack an object has one ROI for each plane; they
    are called ``7_z3``, ``7_t2_z3``, with the id in front.

    Parameters
    ----------
    labels : array of integers
        What is below 1 is no object.
    axes : str
        Its axes, letters of ``TZYX``.
    """
    for (t, z), plane in label_planes(labels, axes):
        position = {letter: n for letter, n in (("t", t), ("z", z)) if letter.upper() in axes}
        suffix = "".join(f"_{letter}{n + 1}" for letter, n in position.items())
        numbers, compact = np.unique(np.maximum(plane, 0), return_inverse=True)
        if numbers.size and numbers[0] != 0:
            compact, numbers = compact + 1, np.concatenate([[0], numbers])
        for number, box in enumerate(ndi.find_objects(compact.reshape(plane.shape)), start=1):
            inside = compact.reshape(plane.shape)[box] == number
            outlines = [outline + np.array([box[1].start, box[0].start]) for outline in _outlines(inside)]
            yield _roi(outlines, f"{numbers[number]}{suffix}", position)


def write_rois(path: str | Path, labels: Any, axes: str) -> int:
    """Write the outlines of all objects as a ``RoiSet.zip`` for Fiji, at once; return how many.

    Raises
    ------
    ImageError
        If it cannot be written there.
    """
    count = 0
    with (
        written_at_once(Path(path), "The ROIs") as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for roi in labels_to_rois(labels, axes):
            file.writestr(f"{roi.name}.roi", roi.tobytes())
            count += 1
    return count


def read_rois(path: str | Path) -> list[ImagejRoi]:
    """Read a ``RoiSet.zip`` or a single ``.roi``.

    Raises
    ------
    ImageError
        If it is missing, damaged or holds none.
    """
    from roifile import roiread

    try:
        found = roiread(Path(path))
    except FileNotFoundError as error:
        raise ImageError(f"There are no ROIs {path}. Check the path.") from error
    except Exception as error:  # a damaged file can make its decoder raise almost anything
        raise ImageError(
            f"{Path(path).name} cannot be read ({error}). Save it again from Fiji's ROI Manager."
        ) from error
    rois: list[ImagejRoi] = found if isinstance(found, list) else [found]
    if not rois:
        raise ImageError(f"{Path(path).name} holds no ROIs. Save them again from Fiji's ROI Manager.")
    return rois


def rois_to_labels(
    rois: Sequence[ImagejRoi], shape: Sequence[int], axes: str, *, make: Callable[..., NDArray[Any]] = np.zeros
) -> NDArray[np.int32]:
    """Draw ROIs that have an area as labels; where they overlap the later one is on top.

    The ids are those in the names that `labels_to_rois` gives, if all have such names; so the outlines of one object in
    several planes become one object again. Otherwise they are numbered in their order. Lines, points and texts are
    passed over.

    Parameters
    ----------
    rois : sequence of ImagejRoi
    shape : sequence of int
        Of the labels.
    axes : str
        Of the labels, letters of ``TZYX``.
    make : callable
        Gives an array of zeros of a shape and a type (default: in memory).

    Returns
    -------
    ndarray of int32

    Raises
    ------
    ImageError
        If none has an area, or one does not say in which slice it lies.
    """
    return drained(iter_rois_to_labels(rois, shape, axes, make=make))


def iter_rois_to_labels(
    rois: Sequence[ImagejRoi], shape: Sequence[int], axes: str, *, make: Callable[..., NDArray[Any]] = np.zeros
) -> Generator[float, None, NDArray[np.int32]]:
    """Draw ROIs as `rois_to_labels` does; yields how far it is, 0 to 1."""
    labels = make(tuple(shape), np.int32)
    volumes = to_canonical(labels, axes)[:, 0]
    drawn = [(roi, parts) for roi in rois if (parts := _areas(roi))]
    if not drawn:
        raise ImageError("None of the ROIs encloses an area. Draw outlines with the polygon or freehand tool.")
    own = [_OWN_NAME.fullmatch(roi.name) for roi, _ in drawn]
    ids = [int(match[1]) for match in own if match]
    if len(ids) < len(drawn):
        ids = list(range(1, len(drawn) + 1))
    for done, (number, (roi, parts)) in enumerate(zip(ids, drawn, strict=True), start=1):
        t, z = _place(roi, axes, volumes.shape)
        rows, columns = _filled(parts, volumes.shape[2:])
        volumes[t, z, rows, columns] = number
        yield done / len(drawn)
    return labels


def _outlines(inside: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return closed paths (x, y) along the corners of the pixels, holes the other way round."""
    from skimage.measure import find_contours

    outlines = []
    for contour in find_contours(np.pad(inside, 1).astype(np.uint8), 0.5, fully_connected="high"):
        # each step of a contour crosses one square of four pixel centres, whose middle is the corner of the pixels
        corners = np.floor((contour[:-1] + contour[1:]) / 2).astype(np.intp)[:, ::-1]
        direction = corners - np.roll(corners, 1, axis=0)
        turns = (direction != np.roll(direction, -1, axis=0)).any(axis=1)
        outlines.append(corners[turns])
    return outlines


def _roi(outlines: list[NDArray[np.intp]], name: str, position: dict[str, int]) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    only = next(iter(position.values())) if len(position) == 1 else None
    every = np.concatenate(outlines)
    roi = ImagejRoi.frompoints(outlines[0] if len(outlines) == 1 else every, name=name, position=only, **position)
    roi.right, roi.bottom = (int(n) for n in every.max(0))
    if len(outlines) == 1:
        roi.roitype = ROI_TYPE.TRACED
        return roi
    path: list[float] = []
    for outline in outlines:
        for step, (x, y) in enumerate(outline):
            path += [float(step > 0), float(x), float(y)]
        path.append(4.0)
    roi.roitype, roi.n_coordinates = ROI_TYPE.RECT, 0
    roi.integer_coordinates = roi.subpixel_coordinates = None
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi


def _areas(roi: ImagejRoi) -> list[NDArray[Any]]:
    """Return the closed paths (x, y) of a ROI; none where it has no area."""
    from roifile import ROI_TYPE

    kind = roi.roitype
    if roi.composite and roi.multi_coordinates is not None:
        return [np.asarray(part) for part in roi.path2coords(roi.multi_coordinates)]
    if kind == ROI_TYPE.RECT:
        left, top, right, bottom = roi.left, roi.top, roi.right, roi.bottom
        return [np.array([(left, top), (right, top), (right, bottom), (left, bottom)])]
    if kind == ROI_TYPE.OVAL:
        angle = np.linspace(0, 2 * np.pi, 256, endpoint=False)
        x, y = (roi.left + roi.right) / 2, (roi.top + roi.bottom) / 2
        across, down = (roi.right - roi.left) / 2, (roi.bottom - roi.top) / 2
        return [np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], axis=1)]
    if kind in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        path = np.asarray(roi.coordinates())
        return [path] if path.ndim == 2 and len(path) > 2 else []
    return []


def _filled(parts: list[NDArray[Any]], plane: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixels whose centres lie inside an odd number of the paths."""
    from skimage.draw import polygon2mask

    every = np.concatenate(parts)
    low = np.maximum(np.floor(every.min(0)).astype(int)[::-1], 0)
    high = np.minimum(np.ceil(every.max(0)).astype(int)[::-1], plane)
    if (high <= low).any():
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    inside = np.zeros(tuple(high - low), np.bool_)
    for part in parts:
        inside ^= polygon2mask(inside.shape, part[:, ::-1] - low - 0.5)
    rows, columns = np.nonzero(inside)
    return rows + low[0], columns + low[1]


def _place(roi: ImagejRoi, axes: str, shape: tuple[int, ...]) -> tuple[int, int]:
    single = len(set(axes) & {"T", "Z"}) == 1
    found = []
    for letter, own, length in (("T", roi.t_position, shape[0]), ("Z", roi.z_position, shape[1])):
        number = own or (roi.position if single else 0)
        if letter not in axes or length == 1:
            number = 1
        if not 1 <= number <= length:
            raise ImageError(
                f"ROI {roi.name!r} does not say which slice of {length} along {letter} it lies in (it says {number}). "
                "Save the ROIs with 'Associate ROIs with slices' on, made on this image."
            )
        found.append(number - 1)
    return found[0], found[1]
