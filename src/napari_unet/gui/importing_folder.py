"""Labels of other programs for all images of a folder: read in a job, and told what became of each."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_unet.correction import Incoming, iter_import_labels, iter_read_labels
from napari_unet.errors import UNetError
from napari_unet.gui.in_pieces import Clock, result_told
from napari_unet.gui.jobs import Progress
from napari_unet.gui.layers import label_shape
from napari_unet.gui.offers import path_of
from napari_unet.gui.origin import origin_of
from napari_unet.gui.room import make_for
from napari_unet.images import label_axes

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path
    from threading import Event as StopFlag

    from napari.layers import Image

__all__ = ["FolderImport"]

_TAKEN, _WAS_THERE = "taken", "was there"


class FolderImport:
    """The labels of a folder. Those of the image in view are its result; the others go to where they are kept.

    Parameters
    ----------
    pairs : sequence of (image, labels)
        From `find_label_pairs`.
    image : Image
        The one in view.
    axes : str
        Of that image.
    kind : str
    classes : int
        As for `iter_import_labels`.
    as_truth : bool
        Whether all of it is true, empty places too; else it is to be checked.
    """

    def __init__(
        self, pairs: Sequence[tuple[Path, Path]], image: Image, *, axes: str, kind: str, classes: int, as_truth: bool
    ) -> None:
        known = origin_of(image)
        self._count, self._classes, self._as_truth = len(pairs), classes, as_truth
        self._here, self._shape, self._axes = path_of(image), label_shape(image, axes), label_axes(axes)
        self._own = next((labels for path, labels in pairs if path == self._here), None)
        self._others = [pair for pair in pairs if pair[0] != self._here]
        self._stored = iter_import_labels(
            self._others, as_truth=as_truth, axes=axes if known.channel is None else None, kind=kind, classes=classes,
            channel=known.channel, level=known.level, make_for=make_for,
        )  # fmt: skip
        self._became: dict[Path, str] = {}

    def run(self, stop: StopFlag) -> Generator[Any, None, Incoming | None]:
        """Return the work of a job: its result are the labels of the image in view, None where there are none."""
        clock = Clock()
        with closing(self._stored):
            for one in self._stored:
                self._became.update({one.path: one.what} if one.what else {})
                fraction = one.fraction * len(self._others) / self._count
                if one.what or clock.is_time_to_tell():
                    done = f"{len(self._became)} of {self._count} images"
                    yield Progress(fraction, f"Importing labels: {done}{clock.left(fraction)}.")
                if stop.is_set():
                    return None
        if self._here is None or self._own is None:
            return None
        try:
            reading = iter_read_labels(
                self._own, self._shape, self._axes, classes=self._classes, make=make_for(self._shape)
            )
            return (yield from result_told(reading, f"Reading {self._own.name}: {{}}.", stop))
        except UNetError as error:
            self._became[self._here] = str(error)
            return None

    def note_here(self, *, taken: bool) -> None:
        """Note what became of the labels of the image in view."""
        assert self._here is not None
        self._became[self._here] = _TAKEN if taken else _WAS_THERE

    def outcome(self) -> tuple[str, bool]:
        """Return what became of all of them, in words, and whether something is wrong."""
        taken, kept = (sum(what == one for what in self._became.values()) for one in (_TAKEN, _WAS_THERE))
        problems = [what for what in self._became.values() if what not in (_TAKEN, _WAS_THERE)]
        parts = ["Cancelled."] * (len(self._became) < self._count)
        checked = "checked" if self._as_truth else "to be checked"
        parts += [f"Labels of {taken} of {self._count} images taken over, {checked}."]
        parts += [f"{kept} had been worked on and keep theirs."] * bool(kept)
        parts += problems[:1] + [f"And {len(problems) - 1} more like this."] * (len(problems) > 1)
        return " ".join(parts), bool(problems)
