"""The way back: each model that was replaced, with the labels it had left."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_unet.correction import LabelVersion, keep_version, list_versions, load_version
from napari_unet.gui.session import JobState
from napari_unet.gui.worker import Job
from napari_unet.models import list_models, load_model

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import Model

__all__ = ["Versions"]


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

    def keep(self, document: Document, model: Model, name: str) -> None:
        """Note a model that is about to be replaced, and the labels it has left."""
        if document.is_large:
            return  # a copy of everything does not fit
        version = LabelVersion(name, time.time(), document.counts()[0])
        kept = _Kept(version, document.proposed(), None if name in list_models() else model)
        self._of(document)[name] = kept
        store = document.store
        if store is not None and not store.read_only:
            self._write(store.path, kept)
        self._session.versions = self.offered()

    def go_back(self, name: str) -> None:
        """Use a model again, and its labels wherever nothing is checked: one undoable step."""
        bench, session, document = self._workbench, self._session, self._workbench.document
        kept = self._of(document).get(name) if document is not None else None
        if document is None or kept is None:
            return
        if session.prediction is not JobState.IDLE:
            session.say("Already segmenting. Cancel it first.")
            return
        present, present_name = bench.model, session.model
        labels, known = kept.labels, kept.model

        def run(_: StopFlag) -> Generator[Any, None, tuple[Model, NDArray[Any]]]:
            yield from ()
            model = known if known is not None else load_model(name)
            return model, labels if labels is not None else load_version(kept.version, document.shape)

        def show(found: tuple[Model, NDArray[Any]]) -> None:
            if bench.document is not document:
                session.say("Another image was chosen: nothing was changed.")
                return
            model, before = found
            if present is not None:
                self.keep(document, present, present_name)  # the way forward again
            bench.choosing.use(model, name)
            document.fill(before, tuple(slice(0, n) for n in document.shape))
            session.say(f"Back to {name!r} with its labels. What is checked stays as it is.")

        bench.jobs.start("prediction", run, on_result=show, message=f"Going back to {name!r}...")

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
