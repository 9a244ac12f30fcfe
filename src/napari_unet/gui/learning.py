"""Train on what is checked, show what the new model would do, and take it over or not."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_unet.errors import CheckpointError, UNetError
from napari_unet.events import Notice
from napari_unet.gui.bases import is_base, load_base, start_for, version_path
from napari_unet.gui.collecting import at_once, in_background
from napari_unet.gui.forecast import how_to_compute
from napari_unet.gui.hints import ask_for_truth, require_truth
from napari_unet.gui.jobs import MainThread, Progress
from napari_unet.gui.last_training import LastTraining
from napari_unet.gui.layers import corner_of, make_overlay
from napari_unet.gui.preloading import load_what_training_needs
from napari_unet.gui.session import JobState, Scope
from napari_unet.gui.verdict import advice_on, verdict_on
from napari_unet.models import Model, list_models, save_model
from napari_unet.training import TrainConfig, Trained, iter_fine_tune, iter_train, read_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from threading import Event as StopFlag

    from napari.layers import Image, Labels

    from napari_unet.annotation import Annotated
    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import ModelSpec
    from napari_unet.prediction import Prediction
    from napari_unet.training import Unfinished

__all__ = ["Learning"]


class Learning:
    """The third step of the loop.

    Training works on copies and ends in a preview: labels and model change only with *Use new*.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._candidate: Trained | None = None
        self._last = LastTraining(workbench)
        self._path: Path | None = None
        self._looked_at: tuple[Any, Unfinished | None] = (None, None)
        self._preview: tuple[Labels, Image] | None = None
        self._taught: WeakKeyDictionary[Document, int] = WeakKeyDictionary()
        """Corrections of each document when a training took its copy."""
        self._session.events.training.connect(self._look_for_unfinished)
        for name in ("model", "strip", "is_elsewhere", "image", "classes"):
            getattr(self._session.events, name).connect(self._tell_base)
        self._session.events.image.connect(self._show_where_it_belongs)

    def train(self, minutes: float | None = 5.0, steps: int | None = None) -> None:
        """Learn from what is checked, in the background; what was broken off before is forgotten."""
        machine = how_to_compute(self._session.device, self._session.precision)
        self._start(TrainConfig(minutes=None if steps else minutes, steps=steps, **machine), afresh=True)

    def resume(self) -> None:
        """Go on with a training that was broken off; afresh, if what it learned from is another now."""
        path = self._checkpoint()
        unfinished = read_unfinished(path) if path is not None else None
        if unfinished is None:
            self._session.say("There is no training to go on with. Press Train.")
            return
        self._start(unfinished.config)

    def bases(self) -> list[str]:
        """Return the models of the library that a training of the model in use can start from."""
        model = self._workbench.model
        return [] if model is None else [name for name in list_models() if is_base(name, model.spec)]

    def base(self) -> str:
        """Return the name of the model that a training starts from.

        That of the folder; for a version that was learned from this image what it started from; else the model in
        use itself, whatever that was taught elsewhere. Empty for one that has not learned anything yet.
        """
        bench, name = self._workbench, self._session.model
        model, project, document = bench.model, bench.projects.project, bench.document
        if model is None:
            return ""
        names = (project.base_model if project is not None else None, document.bases.get(name) if document else None)
        return next((name for name in names if name and is_base(name, model.spec)), name)

    def choose_base(self, name: str) -> None:
        """Let every training of the open folder start from this model."""
        project = self._workbench.projects.project
        if project is not None:
            try:
                project.choose_base_model(name)
            except UNetError as error:
                self._session.say(str(error), problem=True)
            else:
                self._session.say(f"Training in this folder starts from {name!r} now.")
        self._tell_base()

    def _tell_base(self) -> None:
        session = self._session
        in_folder = bool(session.strip) and not session.is_elsewhere and self._workbench.model is not None
        session.base = self.base() if in_folder else ""

    def _start(self, config: TrainConfig, *, afresh: bool = False) -> None:
        """Train on copies of what is checked; say so where that cannot start."""
        bench, session = self._workbench, self._session
        if session.training is not JobState.IDLE:
            session.say("Already training. Stop it first.")
            return
        if session.has_preview:
            session.say("First say what becomes of the new model: Use new, or Keep old.")
            return
        document, spec = bench.document, bench.spec
        if document is None or spec is None:
            session.say(f"Nothing is checked yet. {ask_for_truth(spec)}", problem=True)
            return
        sized = bench.sizing.settle()
        work = document.copy_checked(spec, bench.object_size)
        if document.is_large:
            self._run(document, spec, config, lambda stop: in_background(work, stop), sized, afresh=afresh)
            return
        try:
            taken = at_once(work)
            require_truth(taken[0], spec)
        except UNetError as error:
            session.say(str(error), problem=True)
            return
        self._run(document, spec, config, lambda _: _known(taken), sized, afresh=afresh)

    def _run(
        self,
        document: Document,
        spec: ModelSpec,
        config: TrainConfig,
        collect: Callable[[StopFlag], Generator[Any, None, tuple[list[Annotated], int]]],
        sized: str,
        *,
        afresh: bool,
    ) -> None:
        bench, session = self._workbench, self._session
        model, path, base_name = bench.model, self._checkpoint(), self.base()
        corrections = document.corrections
        self._last.begin(document.image)

        def begin() -> None:
            """Note what this training is of, now that it is sure that there is one."""
            if afresh:
                _forget(path)
            project = bench.projects.project
            if project is not None and project.base_model is None and base_name in list_models():
                with suppress(UNetError):  # of a folder that cannot be written: it is the same as long as this model is
                    project.choose_base_model(base_name)
            self._taught[document] = corrections
            self._path, session.newer = path, self.newer_corrections()

        def learn(everything: list[Annotated], stop: StopFlag) -> Generator[Any, None, Trained]:
            # until it is decided what becomes of the new model
            keeping: Any = {"stop": stop, "checkpoint": path, "keep_checkpoint": True}
            if model is None:
                start = start_for(spec)
                return (yield from iter_train(everything, config, spec=spec, start=start, **keeping))
            base = load_base(base_name, model)
            return (yield from iter_fine_tune(base, everything, config, in_use=model, **keeping))

        def run(stop: StopFlag) -> Generator[Any, None, Trained]:
            load_what_training_needs()
            samples, left_out = yield from collect(stop)
            if document.is_large:
                require_truth(samples, spec)
                yield (beginning := MainThread(begin))
                beginning.wait(stop)
                yield Progress(0.0, _told(len(samples), left_out, sized))
            everything = [*samples, *bench.projects.samples(spec)]
            try:
                return (yield from learn(everything, stop))
            except CheckpointError:
                _forget(path)
                yield Notice("What is checked has changed since it was broken off: the training starts afresh.")
                return (yield from learn(everything, stop))

        if not document.is_large:
            begin()
        looking = "Looking for what is checked. You can go on correcting."
        message = looking if document.is_large else _told(0, 0, sized)
        bench.jobs.start("training", run, on_result=self._offer, message=message)

    def newer_corrections(self) -> int:
        """Return how many corrections of the document the last training has not seen."""
        document = self._workbench.document
        if document is None or document not in self._taught:
            return 0
        return abs(document.corrections - self._taught[document])

    def unfinished(self) -> Unfinished | None:
        """Return the training of this document and this model that was broken off, if there is one."""
        path, session = self._checkpoint(), self._session
        try:
            key = (path, path.stat().st_mtime_ns, session.model, session.base) if path is not None else None
        except OSError:
            key = None
        if key is None:
            return None
        if key != self._looked_at[0]:
            found, spec = read_unfinished(key[0]), self._workbench.spec
            own = () if spec is None else (spec.name, self.base(), session.base)
            fits = found is not None and found.model in own
            self._looked_at = key, found if fits else None
        return self._looked_at[1]

    def _checkpoint(self) -> Path | None:
        """Return where the state of a training is kept: beside the corrections, without which nothing can go on."""
        document = self._workbench.document
        store = document.store if document is not None else None
        return store.path / "training.checkpoint" if store is not None and not store.read_only else None

    def stop(self) -> None:
        """End the training after the step in progress, with the best so far."""
        self._workbench.jobs.stop("training", "Stopping after this step...")

    def use_new(self) -> None:
        """Keep the new model, as a version of its own, and segment again with it."""
        candidate = self._candidate
        if candidate is None:
            return
        bench = self._workbench
        before, name = bench.model, self._session.model
        path = version_path(candidate.model.spec.name)
        model = Model(candidate.model.network, candidate.model.spec.model_copy(update={"name": path.stem}))
        problem = ""
        try:
            save_model(model, path)
        except UNetError as error:
            problem = f"The new model is in use until napari closes, but it is not saved. {error}"
        self._drop_preview()
        parent = model.spec.provenance.get("parent")
        if bench.document is not None and parent is not None and not self._session.trained_elsewhere:
            bench.document.remember_base(path.stem, parent)
        self._last.led_to(model.spec.name)
        bench.choosing.use(model)

        def segment() -> None:
            bench.segmenting.segment(bench.estimating.main_scope())
            if problem:
                self._session.say(problem, problem=True)

        if bench.document is not None and before is not None:
            bench.versions.keep(bench.document, before, name, then=segment)
        else:
            segment()

    def keep_old(self) -> None:
        """Forget the new model; everything stays as it was."""
        self._drop_preview()
        self._session.say("The old model stays. Correct more, then train again.")

    def toggle_preview(self) -> None:
        """Show or hide the labels of the new model."""
        if self._preview is not None:
            self._preview[0].visible = not self._preview[0].visible

    def _show_where_it_belongs(self) -> None:
        """Put the preview out of sight while another image is worked on."""
        if self._preview is not None and self._session.image:
            overlay, image = self._preview
            overlay.visible = image is self._workbench.image and self._workbench.viewer.dims.ndisplay == 2

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        preview, image = self._preview or (None, None)
        if layer is preview:
            self._preview = None
        elif preview is not None and layer is image:
            self._workbench.shelf.take_down(preview)

    def _offer(self, trained: Trained) -> None:
        """Show what the new model makes of the view, and how it compares; nothing is changed yet."""
        bench, session = self._workbench, self._session
        self._candidate = trained
        session.verdict, session.advice = verdict_on(trained), advice_on(trained)
        session.has_preview = True
        session.say("Trained. Use the new model, or keep the old one?")
        document = bench.document
        if document is None or session.prediction is not JobState.IDLE:
            return
        box = bench.segmenting.box(Scope.VIEW if bench.viewer.dims.ndisplay == 2 else Scope.SLICE)

        def show(result: Prediction) -> None:
            if self._candidate is not trained or document.editable not in bench.viewer.layers:
                return
            name, shown, like = "preview of the new model", result.labels, document.editable
            if not document.is_large:
                shown = document.labels * 0
                shown[box] = result.labels
            overlay = make_overlay(like, shown, name, outline_of_status=False)
            if document.is_large:
                overlay.translate = corner_of(like, box)
            overlay.colormap = document.layers[0].colormap
            bench.shelf.add(overlay)
            self._preview = overlay, document.image
            bench.viewer.layers.selection.active = document.editable
            session.say("Trained. The outlines show what the new model finds here: use it, or keep the old one?")

        bench.jobs.start(
            "prediction",
            lambda stop: bench.segmenting.predict(document, trained.model, box, stop),
            on_result=show,
            message="Trained. Preparing the preview of this view...",
        )

    def _drop_preview(self) -> None:
        self._candidate = None
        preview, self._preview = self._preview, None
        if preview is not None and preview[0] in self._workbench.viewer.layers:
            self._workbench.viewer.layers.remove(preview[0])
        self._session.verdict = self._session.advice = ""
        self._session.has_preview = False
        _forget(self._path)
        self._look_for_unfinished()

    def _look_for_unfinished(self) -> None:
        self._session.unfinished = self.unfinished()


def _forget(checkpoint: Path | None) -> None:
    """Remove a checkpoint. One that cannot be removed does no harm: it is refused, or takes up this training."""
    with suppress(OSError):
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)


def _known(taken: tuple[list[Annotated], int]) -> Generator[Any, None, tuple[list[Annotated], int]]:
    yield from ()
    return taken


def _told(count: int, left_out: int, sized: str) -> str:
    """Return what is said of a training that begins on so many slices, and of the object size where that is new."""
    what = "what you checked"
    if left_out:
        what = f"{count} of {count + left_out} checked slices, as many as fit into memory"
    return " ".join(filter(None, (f"Training on {what}.", sized, "You can go on correcting.")))
