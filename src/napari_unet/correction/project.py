"""A folder of images that are worked on together: which there are, how far each is, what is set for all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.annotation import Status
from napari_unet.correction.finding import FOLDER, META, same_kind, superseded
from napari_unet.correction.identity import identity_in
from napari_unet.correction.places import read_json, replace_json
from napari_unet.correction.reading import read_store
from napari_unet.correction.snapshots import crop_to_checked, snapshot
from napari_unet.errors import ImageError, StoreError
from napari_unet.images import (
    CANONICAL,
    fit_colours,
    image_files,
    image_stem,
    label_axes,
    label_stems,
    measure_normalization,
    open_image,
    to_canonical,
)
from napari_unet.user_data import data_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.annotation import Annotated
    from napari_unet.correction.identity import ImageIdentity

__all__ = ["Entry", "Project"]

_SETTINGS = "project.json"


@dataclass(frozen=True)
class Entry:
    """How far one image of a project is.

    Attributes
    ----------
    path : Path
    store : Path or None
        None: nothing was done in it yet. Where several channels or resolutions were corrected, the first of them.
    objects, checked, corrected : int
        As the stores remember them, all together.
    """

    path: Path
    store: Path | None
    objects: int = 0
    checked: int = 0
    corrected: int = 0


class Project:
    """A folder of images of any sizes.

    Parameters
    ----------
    folder : Path
    kind : str
        What is corrected, as for `open_store`.

    Raises
    ------
    ImageError
        If there are no images in it.

    Attributes
    ----------
    images : list of Path
        In natural order: ``img_2`` before ``img_10``. Labels beside them are left out.
    """

    def __init__(self, folder: Path, kind: str = "object") -> None:
        self.folder = folder.absolute()
        self.kind = kind
        files = image_files([self.folder])
        labels = {name for path in files for name in label_stems(image_stem(path))}
        self.images = sorted((path for path in files if image_stem(path).casefold() not in labels), key=_natural)

    # --- which image -------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Return how far each image is, in order. Opens no image."""
        stores = self._stores()
        found = []
        for path in self.images:
            own = stores.get(path.name, [])
            facts = [read_json(store / META).get("facts", {}) for store in own]
            counts = [sum(int(one.get(name, 0)) for one in facts) for name in ("objects", "checked", "corrected")]
            found.append(Entry(path, own[0] if own else None, *counts))
        return found

    def position(self, image: Path) -> int:
        """Return the place of an image, from 0.

        Raises
        ------
        ImageError
            If it is not in the project.
        """
        if image.absolute() not in self.images:
            raise ImageError(f"{image.name} is not in {self.folder}. Open the folder again if it is new.")
        return self.images.index(image.absolute())

    def neighbour(self, image: Path, step: int) -> Path | None:
        """Return the image that comes `step` places after (or before) another; None beyond the ends."""
        place = self.position(image) + step
        return self.images[place] if 0 <= place < len(self.images) else None

    def strip(self, image: Path) -> str:
        """Return ``3/12 img_03.tif``."""
        return f"{self.position(image) + 1}/{len(self.images)} {image.name}"

    def next_to_segment(self, image: Path) -> Path | None:
        """Return the first image after another in which nothing was done yet, to be segmented in the background."""
        after = self.entries()[self.position(image) + 1 :]
        return next((entry.path for entry in after if entry.store is None), None)

    # --- what is set for all -----------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        """What is set for the project: ``base_models``, ``last``, ..."""
        return read_json(self.folder / FOLDER / _SETTINGS)

    def set(self, **values: Any) -> None:
        """Set something for the project. Anything that JSON can hold.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        path = self.folder / FOLDER / _SETTINGS
        try:
            path.parent.mkdir(exist_ok=True)
            replace_json(path, {**self.settings, **values})
        except OSError as error:
            raise StoreError(
                f"The settings of the project cannot be written to {path} ({error.strerror or error}). "
                "They hold until napari closes."
            ) from error

    @property
    def base_model(self) -> str | None:
        """Model that every training of this kind starts from; None before the first."""
        chosen = self.settings.get("base_models", {})
        own = (name for kind, name in chosen.items() if same_kind(kind, self.kind))
        return chosen.get(self.kind) or next(own, None)

    def choose_base_model(self, name: str) -> None:
        """Let every training of this kind start from a model.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        others = {k: v for k, v in self.settings.get("base_models", {}).items() if not same_kind(k, self.kind)}
        self.set(base_models={**others, self.kind: name})

    # --- what is known -----------------------------------------------------------------------------------

    def samples(
        self,
        *,
        spatial_dims: int,
        percentiles: tuple[float, float] = (1.0, 99.8),
        object_diameter_px: float | None = None,
        margin: int = 128,
        channels: Sequence[int] | None = None,
        in_channels: int | None = None,
        skip: Sequence[Path] = (),
    ) -> Iterator[Annotated]:
        """Walk what is checked in all images, as copies of the checked areas and a margin around them.

        One image at a time is in memory.

        Parameters
        ----------
        spatial_dims : {2, 3}
            Of the model.
        percentiles : tuple of float
            Of the model's normalisation, which is measured on the whole image.
        object_diameter_px : float, optional
        margin : int
            Voxels of the plane around what is checked (default 128).
        channels : sequence of int, optional
            Channels of the files that feed the model. None: the one that was corrected, or all where all were.
        in_channels : int, optional
            How many the model takes: for one, colours are averaged. None: they stay.
        skip : sequence of Path
            Images, or stores, that the caller has in memory.

        Raises
        ------
        ImageError, StoreError
            If an image or its corrections cannot be read.
        """
        stores = self._stores()
        for path in self.images:
            for store in stores.get(path.name, []) if path not in skip else []:
                if store in skip:
                    continue
                found, known = read_store(store)
                if not (found.status == Status.CHECKED).any():
                    continue
                pixels = _pixels(path, known, channels, in_channels)
                letters = label_axes(known.axes)
                labels, status = (to_canonical(one, letters)[:, 0] for one in (found.labels, found.status))
                if tuple(n for n, letter in zip(pixels.shape, CANONICAL, strict=True) if letter != "C") != labels.shape:
                    raise StoreError(f"{path.name} has another shape than when it was corrected. Open it to decide.")
                for sample in snapshot(
                    pixels,
                    labels,
                    status,
                    CANONICAL,
                    spatial_dims=spatial_dims,
                    normalization=measure_normalization(pixels, percentiles),
                    name=path.name,
                    object_diameter_px=object_diameter_px,
                ):
                    yield crop_to_checked(sample, margin)

    def _stores(self) -> dict[str, list[Path]]:
        """Return the stores of the images by their names: those beside them, and those that could not be there."""
        beside = sorted((self.folder / FOLDER).glob("*.zarr"))
        found: dict[str, list[tuple[int, int, Path]]] = {}
        metas = {path: read_json(path / META) for path in [*beside, *sorted((data_folder() / "stores").glob("*.zarr"))]}
        for original in superseded(metas.values()):
            metas.pop(Path(original), None)
        for path, meta in metas.items():
            kind, known = str(meta.get("kind")), identity_in(meta.get("image"))
            # a class may have been added since; of classes that are not asked for nothing can be learned
            if known is None or not same_kind(kind, self.kind) or len(kind) > len(self.kind):
                continue
            if path.parent == self.folder / FOLDER or known.folder == self.folder:
                place = (-1 if known.channel is None else known.channel, known.level, path)
                found.setdefault(known.name, []).append(place)
        return {name: [path for *_, path in sorted(places)] for name, places in found.items()}


def _pixels(path: Path, known: ImageIdentity, channels: Sequence[int] | None, in_channels: int | None) -> Any:
    """Return the pixels of an image that was corrected, or of its channels, in the canonical axes."""
    opened = open_image(path, known.level)
    axes = known.axes if known.channel is None else opened.axes or opened.guess.axes
    if len(axes) != len(opened.shape):
        raise StoreError(f"{path.name} has another shape than when it was corrected. Open it to decide.")
    pixels = to_canonical(opened.data, axes)
    count = pixels.shape[1]
    wanted = channels if channels is not None else None if known.channel is None else [known.channel]
    if wanted is None:
        return fit_colours(pixels, in_channels) if in_channels and "S" in axes else pixels
    if count == 1 and len(wanted) == 1:  # a file of the channel alone
        return pixels
    if max(wanted) >= count:
        raise ImageError(f"{path.name} has {count} channels, the model needs number {max(wanted) + 1}.")
    return pixels[:, list(wanted)]


def _natural(path: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]
