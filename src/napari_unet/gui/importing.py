"""Labels of other programs: a layer, a file or a folder of them becomes what is corrected here."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_unet.correction import Incoming, find_label_pairs, iter_fit_labels, iter_read_labels
from napari_unet.gui.document import kind_of
from napari_unet.gui.hints import how_many
from napari_unet.gui.importing_folder import FolderImport
from napari_unet.gui.in_pieces import changed_in_pieces, how_far, result_told, way_back
from napari_unet.gui.jobs import CANCELLED, Progress
from napari_unet.gui.layers import label_shape
from napari_unet.gui.offers import Offers, tell_pairs
from napari_unet.gui.room import make_for
from napari_unet.gui.session import JobState
from napari_unet.gui.worker import Job
from napari_unet.images import label_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from threading import Event as StopFlag

    from napari.layers import Labels

    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench

    Make = Callable[..., Any]
    Reading = Generator[float, None, Incoming]

__all__ = ["Importing"]

_A_WHILE = 0.3
"""Seconds after which it is worth a bar that labels are read."""

_QUESTION = "To be checked, or the truth: all right, nothing missing?"


class Importing:
    """Finds labels of other programs, asks whether they are the truth or to be checked, and takes them over.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._offers = Offers(workbench, self)
        self._take: Callable[[bool], None] | None = None
        self._job: Job | None = None

    @property
    def is_busy(self) -> bool:
        """Whether labels are being read."""
        return self._job is not None

    # --- what there is -----------------------------------------------------------------------------------

    def accept(self) -> None:
        """Take up the offer."""
        self._offers.accept()

    def decline(self) -> None:
        """Do not offer it again."""
        self._offers.decline()

    def choose_layer(self, layer: Labels) -> None:
        """Look at a layer of labels, then ask what they are."""
        data, name = layer.data[0] if layer.multiscale else layer.data, layer.name

        def done(found: Incoming) -> None:
            self._ask(found, repr(name), then=lambda: self._put_away(layer))

        def read(shape: tuple[int, ...], axes: str, classes: int, make: Make | None) -> Reading:
            return iter_fit_labels(data, shape, axes, name=name, classes=classes, make=make)

        self._read(name, read, done)

    def choose_file(self, path: Path) -> None:
        """Look at a file of labels or ROIs, then ask what they are."""
        self._read(
            path.name,
            lambda shape, axes, n, make: iter_read_labels(path, shape, axes, classes=n, make=make),
            lambda found: self._ask(found, path.name),
        )

    def choose_folder(self, folder: Path | None = None) -> None:
        """Look for labels of all images of the open folder, then ask what they are.

        Parameters
        ----------
        folder : Path, optional
            Where they are. None: beside the images, or where other programs put them.
        """
        project = self._workbench.projects.project
        if project is None:
            self._session.say("Open a folder of images first: Open folder..., or drop it here.", problem=True)
            return
        pairs = find_label_pairs(project.images, folder)
        if not pairs:
            where = folder or project.folder
            names = "those of the images, with _masks after them or not"
            self._session.say(f"No labels in {where}. They are told by their names: {names}.", problem=True)
            return
        self._take = partial(self._take_folder, pairs)
        self._session.import_question = f"{tell_pairs(pairs, len(project.images))} {_QUESTION}"

    # --- what becomes of it ------------------------------------------------------------------------------

    def take(self, *, as_truth: bool) -> None:
        """Take over what was looked at."""
        take, self._take = self._take, None
        self._session.import_question = ""
        if take is not None:
            take(as_truth)
            self._offers.settle()

    def cancel(self) -> None:
        """Leave everything as it is."""
        self._take = None
        self._session.import_question = ""

    def stop(self) -> None:
        """Stop reading; what was taken over by then stays."""
        if self._job is not None:
            self._job.stop()
            self._session.say("Cancelling...")

    def close(self) -> None:
        """Let go of the viewer."""
        self._offers.close()
        if self._job is not None:
            self._job.abandon()

    # --- inner: reading ----------------------------------------------------------------------------------

    def _read(
        self,
        name: str,
        read: Callable[[tuple[int, ...], str, int, Make | None], Reading],
        done: Callable[[Incoming], None],
    ) -> None:
        """Read labels in the background."""
        bench, image = self._workbench, self._workbench.image
        if image is None or not self._session.image or bench.problem is not None:
            self._session.say(bench.problem or "Open the image of these labels first.", problem=True)
            return
        if self._job is not None:
            self._session.say("Labels are being read. Wait a moment, or cancel it.")
            return
        self.cancel()
        axes, classes = self._session.axes, self._classes()
        shape = label_shape(image, axes)

        def run(stop: StopFlag) -> Generator[Any, None, Incoming | None]:
            reading = read(shape, label_axes(axes), classes, make_for(shape))
            return (yield from result_told(reading, f"Reading {name}: {{}}.", stop))

        def take_over(found: Incoming | None) -> None:
            if found is None:
                self._session.say(CANCELLED)
            elif bench.image is image and self._session.axes == axes and self._classes() == classes:
                done(found)

        self._start(run, take_over, f"Reading {name}...")

    def _start(
        self,
        run: Callable[[StopFlag], Generator[Any, None, Any]],
        on_result: Callable[[Any], None],
        message: str,
    ) -> None:
        begun = time.monotonic()

        def on_event(event: Progress) -> None:
            self._session.say(event.message)
            if time.monotonic() - begun > _A_WHILE:
                self._session.importing = event.fraction

        def on_end() -> None:
            self._job = None
            self._session.importing = -1.0
            self._offers.look()

        self._job = Job(
            "U-Net import",
            run,
            on_event=on_event,
            on_result=on_result,
            on_error=lambda text: self._session.say(text, problem=True),
            on_end=on_end,
        )
        self._session.say(message)
        self._job.start()

    def _classes(self) -> int:
        spec = self._workbench.spec
        return len(spec.classes) if spec is not None and spec.task == "semantic" else 0

    def _ask(self, found: Incoming, name: str, then: Callable[[], None] = lambda: None) -> None:
        what = how_many(found.count, classes=self._classes() > 0)
        replaced = f" Truth would replace the {self._session.checked} checked." if self._session.checked else ""
        self._take = partial(self._take_one, found, name, then)
        self._session.say(f"{what} in {name}.")
        parts = (f"{what} in {name}.", found.note, f"{_QUESTION}{replaced}")
        self._session.import_question = " ".join(part for part in parts if part)

    # --- inner: taking over ------------------------------------------------------------------------------

    def _take_one(self, found: Incoming, name: str, then: Callable[[], None], as_truth: bool) -> None:
        how = "all of it is checked. Press Train." if as_truth else "correct what is wrong, then press Train."

        def done(back: str) -> None:
            then()
            self._session.say(f"Taken over from {name}: {how} {back}")

        self._fill(found, as_truth, done)

    def _fill(self, found: Incoming, as_truth: bool, done: Callable[[str], None]) -> bool:
        """Take labels over into the document of the image; False if that cannot be, which is said.

        `done` is called at its end, with how it can be taken back.
        """
        bench = self._workbench
        document = bench.documents.ensure()
        if document is None:
            return False
        if document.store is not None and document.store.read_only:
            self._session.say(document.store.notice, problem=True)
            return False
        if document.shape != found.labels.shape:
            self._session.say("Another image was chosen: nothing was taken over.", problem=True)
            return False
        if self._session.prediction is JobState.RUNNING:
            bench.segmenting.cancel()  # its result would cover what is taken over
        if document.is_busy or (document.is_large and self._session.prediction is not JobState.IDLE):
            self._session.say("Wait until the segmentation has ended, then import again.", problem=True)
            return False
        if document.is_large:
            self._fill_in_pieces(document, found, as_truth, done)
        else:
            document.take_over(found.labels, as_truth=as_truth)
            done("Control-Z takes it back.")
        return True

    def _fill_in_pieces(self, document: Document, found: Incoming, as_truth: bool, done: Callable[[str], None]) -> None:
        bench = self._workbench

        def take() -> Generator[float]:
            return document.take_over_in_pieces(found.labels, as_truth=as_truth)

        def end(whole: bool) -> None:
            if whole and document in bench.documents:
                done(way_back(document))
            elif not whole:
                self._session.say(f"{how_far(document)} Import again takes over the rest.")

        bench.jobs.start(
            "prediction",
            lambda stop: changed_in_pieces(document, take, "Taking over the labels", stop),
            on_result=end,
            message="Taking over the labels...",
        )

    def _take_folder(self, pairs: list[tuple[Path, Path]], as_truth: bool) -> None:
        bench, image = self._workbench, self._workbench.image
        if image is None or self._job is not None:
            return
        axes, kind, classes = self._session.axes, kind_of(bench.spec), self._classes()
        folder = FolderImport(pairs, image, axes=axes, kind=kind, classes=classes, as_truth=as_truth)

        def tell() -> None:
            text, is_problem = folder.outcome()
            self._session.say(text, problem=is_problem)

        def take_over(found: Incoming | None) -> None:
            if found is not None:
                document = bench.document
                is_mine = document is not None and bool(document.status.any())
                folder.note_here(taken=not is_mine)
                if not is_mine and self._fill(found, as_truth, lambda _: tell()):
                    return
                folder.note_here(taken=False)
            tell()

        self._start(folder.run, take_over, f"Importing labels of {len(pairs)} images...")

    def _put_away(self, layer: Labels) -> None:
        if layer in self._workbench.viewer.layers:
            layer.visible = False
            document = self._workbench.document
            if document is not None:
                self._workbench.viewer.layers.selection.active = document.editable
