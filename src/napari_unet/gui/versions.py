"""The way back: each model that was replaced, with the labels it had left."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_unet.correction import LabelVersion, iter_keep_version, keep_version, list_versions, open_version
from napari_unet.errors import StoreError
from napari_unet.gui.in_pieces import changed_in_pieces, how_far, way_back
from napari_unet.gui.session import JobState
from napari_unet.gui.worker import Job
from napari_unet.models import list_models, load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import Model

__all__ = ["Versions"]


_BACK = "Back to {!r} with its labels. What is checked stays as it is."


class _Kept:
    """A version, and what of it is not on disk."""

    def __init__(self, version: LabelVersion, labels: NDArray[Any] | None, model: Model | None) -> None:
        self.version, self.labels, self.model = version, labels, model


class Versions:
    """Keeps the labels of a model that is replaced, and brings both back.

    On disk beside the corrections, where those are kept; else for as long as the panel is open.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._kept: WeakKeyDictionary[Document, dict[str, _Kept]] = WeakKeyDictionary()
        self._jobs: set[Job] = set()

    def offered(self) -> tuple[LabelVersion, ...]:
        """Return what one can go back to, the latest first."""
        document = self._workbench.document
        if document is None:
            return ()
        others = [one.version for name, one in self._of(document).items() if name != self._session.model]
        return tuple(sorted(others, key=lambda one: one.when, reverse=True))

    def keep(self, document: Document, model: Model, name: str, then: Callable[[], None] = lambda: None) -> None:
        """Note a model that is about to be replaced, and the labels it has left, `then` go on."""
        if document.is_large:
            self._keep_on_disk(document, model, name, then)
            return
        version = LabelVersion(name, time.time(), document.counts()[0])
        kept = _Kept(version, document.proposed.copy(), _own(model, name))
        self._of(document)[name] = kept
        store = document.store
        if store is not None and not store.read_only:
            self._write(store.path, kept)
        self._session.versions = self.offered()
        then()

    def go_back(self, name: str) -> None:
        """Use a model again, and its labels wherever nothing is checked: one undoable step."""
        bench, session, document = self._workbench, self._session, self._workbench.document
        kept = self._of(document).get(name) if document is not None else None
        if document is None or kept is None:
            return
        if session.prediction is not JobState.IDLE:
            session.say("Already segmenting. Cancel it first.")
            return
        if document.is_large:
            self._go_back_in_pieces(document, kept)
            return
        present, present_name = bench.model, session.model
        labels, known = kept.labels, kept.model

        def run(_: StopFlag) -> Generator[Any, None, tuple[Model, NDArray[Any]]]:
            yield from ()
            model = known if known is not None else load_model(name)
            return model, labels if labels is not None else np.asarray(open_version(kept.version, document.shape)[...])

        def show(found: tuple[Model, NDArray[Any]]) -> None:
            if bench.document is not document:
                session.say("Another image was chosen: nothing was changed.")
                return
            model, before = found
            if present is not None:
                self.keep(document, present, present_name)  # the way forward again
            bench.choosing.use(model, name)
            document.fill(before, tuple(slice(0, n) for n in document.shape), linked=model.spec.linked_axes)
            session.say(_BACK.format(name))

        bench.jobs.start("prediction", run, on_result=show, message=f"Going back to {name!r}...")

    # --- large images ------------------------------------------------------------------------------------

    def _keep_on_disk(self, document: Document, model: Model, name: str, then: Callable[[], None]) -> None:
        """Keep labels that do not fit into memory twice, while nobody changes them."""
        bench, store = self._workbench, document.store
        if store is None or store.read_only:
            then()
            return
        found: list[LabelVersion] = []

        def write() -> Generator[float]:
            kept = yield from iter_keep_version(store.path, document.proposed, name, checked=document.counts()[0])
            found.append(kept)

        def run(stop: StopFlag) -> Generator[Any]:
            if not (yield from changed_in_pieces(document, write, what, stop)):
                raise StoreError("The labels were not kept.")

        def done(_: None) -> None:
            if document in bench.documents:
                self._of(document)[name] = _Kept(found[0], None, _own(model, name))
                self._session.versions = self.offered()

        what = f"Keeping the labels of {name!r}"
        bench.jobs.start(
            "prediction",
            run,
            on_result=done,
            message=f"{what}...",
            cancelled="Cancelled. The labels are as they were.",
            then=then,
        )

    def _go_back_in_pieces(self, document: Document, kept: _Kept) -> None:
        bench, session, name = self._workbench, self._session, kept.version.model
        present, present_name = bench.model, session.model
        whole = tuple(slice(0, n) for n in document.shape)

        def run(stop: StopFlag) -> Generator[Any, None, Model | None]:
            model = kept.model if kept.model is not None else load_model(name)
            labels, linked = open_version(kept.version, document.shape), model.spec.linked_axes
            fill = partial(document.fill_in_pieces, labels, whole, linked=linked)
            return model if (yield from changed_in_pieces(document, fill, f"Going back to {name!r}", stop)) else None

        def show(model: Model | None) -> None:
            if model is None:
                session.say(f"{how_far(document)} Press Back again to go all the way.")
            elif bench.document is document:
                bench.choosing.use(model, name)
                session.say(f"{_BACK.format(name)} {way_back(document)}")

        def go() -> None:
            if bench.document is document:
                bench.jobs.start("prediction", run, on_result=show, message=f"Going back to {name!r}...")

        if present is not None:
            self.keep(document, present, present_name, then=go)  # the way forward again
        else:
            go()

    # --- inner -------------------------------------------------------------------------------------------

    def _of(self, document: Document) -> dict[str, _Kept]:
        if document not in self._kept:
            known = list_versions(document.store.path) if document.store is not None else []
            self._kept[document] = {one.model: _Kept(one, None, None) for one in known}
        return self._kept[document]

    def _write(self, store: Path, kept: _Kept) -> None:
        """Put labels on disk in the background; they stay in memory until then, or where that fails."""
        version, labels = kept.version, kept.labels
        assert labels is not None

        def run(_: StopFlag) -> Generator[Any, None, LabelVersion]:
            yield from ()
            return keep_version(store, labels, version.model, checked=version.checked)

        def done(written: LabelVersion) -> None:
            kept.version, kept.labels = replace(version, path=written.path), None

        job = Job(
            "U-Net versions",
            run,
            on_result=done,
            on_error=lambda _: None,  # they are in memory: the way back is there until the window closes
            on_end=lambda: self._jobs.discard(job),
        )
        self._jobs.add(job)
        job.start()


def _own(model: Model, name: str) -> Model | None:
    """Return a model that the library does not have."""
    return None if name in list_models() else model
