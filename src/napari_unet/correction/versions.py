"""Labels as each model had left them: an array beside the corrections for every version that was replaced."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import zarr
from zarr.codecs import BloscCodec

from napari_unet.correction.filling import pieces
from napari_unet.errors import StoreError
from napari_unet.generators import drained

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LabelVersion", "iter_keep_version", "keep_version", "list_versions", "open_version"]

_FOLDER = "versions"
_SIDE = 512


@dataclass(frozen=True)
class LabelVersion:
    """Labels from before another model took over.

    Attributes
    ----------
    model : str
        Name of the model that they are of.
    when : float
        When it was replaced, in seconds since the epoch.
    checked : int
        How much was checked then.
    path : Path or None
        Where they are; None: in memory only.
    """

    model: str
    when: float
    checked: int = 0
    path: Path | None = None


def keep_version(store: Path, labels: NDArray[Any], model: str, *, checked: int = 0) -> LabelVersion:
    """Write labels beside the corrections in one go: see `iter_keep_version`."""
    return drained(iter_keep_version(store, labels, model, checked=checked))


def iter_keep_version(
    store: Path, labels: NDArray[Any], model: str, *, checked: int = 0
) -> Generator[float, None, LabelVersion]:
    """Write labels beside the corrections, in the place of earlier ones of that model.

    Yields how far it is, 0 to 1. Closed early, it leaves nothing.

    Parameters
    ----------
    store : Path
        Folder of the corrections (`Store.path`).
    labels : ndarray of int
        In the axes of the document.
    model : str
    checked : int

    Raises
    ------
    StoreError
        If they cannot be written there.
    """
    when = time.time()
    folder = store / _FOLDER
    path, temporary = folder / model, folder / f".{uuid4().hex}.partial"
    chunks = tuple(1 for _ in labels.shape[:-2]) + tuple(min(n, _SIDE) for n in labels.shape[-2:])
    try:
        folder.mkdir(exist_ok=True)
        for left in folder.glob(".*.partial"):  # by a crash
            shutil.rmtree(left, ignore_errors=True)
        array: Any = zarr.create_array(
            temporary,
            shape=labels.shape,
            dtype=labels.dtype,
            chunks=chunks,
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
            attributes={"model": model, "when": when, "checked": checked},
        )
        parts = list(pieces(tuple(slice(0, n) for n in labels.shape)))
        for number, part in enumerate(parts, start=1):
            array[part] = labels[part]
            yield number / (len(parts) + 1)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except OSError as error:
        raise StoreError(
            f"The labels of {model!r} cannot be kept in {folder} ({error.strerror or error}). Make room there."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    yield 1.0
    return LabelVersion(model, when, checked, path)


def list_versions(store: Path) -> list[LabelVersion]:
    """Return what is kept beside corrections, the latest first. What is damaged is left out."""
    found = []
    for path in (store / _FOLDER).glob("[!.]*"):
        try:
            facts: dict[str, Any] = zarr.open_array(path, mode="r").attrs.asdict()
            found.append(LabelVersion(str(facts["model"]), float(facts["when"]), int(facts["checked"]), path))
        except (OSError, KeyError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda one: one.when, reverse=True)


def open_version(version: LabelVersion, shape: tuple[int, ...]) -> Any:
    """Return the labels of a version as an array of zarr, which is read where it is asked for.

    Parameters
    ----------
    version : LabelVersion
        With a path.
    shape : tuple of int
        That of the labels now.

    Raises
    ------
    StoreError
        If they cannot be read, or are of another shape.
    """
    try:
        labels = zarr.open_array(version.path, mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"The labels of {version.model!r} in {version.path} cannot be read ({error}). "
            "Choose the model, and segment again."
        ) from error
    if labels.shape != shape:
        raise StoreError(
            f"The labels of {version.model!r} were kept for an image of another size. "
            "Choose the model, and segment again."
        )
    return labels
