"""A folder of images worked on together, and work of another day that is taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.correction import Project, read_about
from napari_unet.errors import ImageError, UNetError
from napari_unet.gui.document import kind_of
from napari_unet.gui.layers import image_layers
from napari_unet.gui.origin import file_of, origin_of
from napari_unet.gui.room import fits
from napari_unet.gui.session import JobState
from napari_unet.gui.worker import Job
from napari_unet.images import open_image
from napari_unet.models import list_models
from napari_unet.prediction import Prediction, iter_predict

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from threading import Event as StopFlag

    from napari_unet.annotation import Annotated
    from napari_unet.correction import RecentWork
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import Model, ModelSpec
    from napari_unet.prediction import PredictConfig

__all__ = ["Projects"]


class Projects:
    """Walks through the images of a folder; the next one is segmented while the user looks at this one.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._folder: Path | None = None
        self._image: Path | None = None
        self._job: Job | None = None
        self._ahead: tuple[Path, str, Prediction] | None = None
        self._tried: set[tuple[Path, str]] = set()
        self._session.events.prediction.connect(self._look_ahead)
        self._session.events.image.connect(self._follow)

    @property
    def project(self) -> Project | None:
        """The open folder, None if none is or the image is not of it."""
        return None if self._session.is_elsewhere else self._opened()

    def _opened(self) -> Project | None:
        if self._folder is None:
            return None
        try:
            return Project(self._folder, kind_of(self._workbench.spec))
        except UNetError:
            return None

    def holds(self, path: Path) -> bool:
        """Return whether an image is one of the open folder."""
        project = self._opened()
        return project is not None and path in project.images

    def open_folder(self, folder: Path) -> bool:
        """Work on the images of a folder, where they were left last time."""
        try:
            project = Project(folder, kind_of(self._workbench.spec))
        except UNetError as error:
            self._session.say(str(error), problem=True)
            return False
        self._folder = project.folder
        last = project.folder / str(project.settings.get("last", ""))
        return self.show(last if last in project.images else project.images[0])

    def step(self, places: int) -> None:
        """Go to the next image, or back to the one before; what was done is saved."""
        project = self._opened()
        target = None if project is None or self._image is None else project.neighbour(self._image, places)
        if target is None:
            self._session.say("There are no more images in this folder.")
        else:
            self.show(target)

    def can_step(self, places: int) -> bool:
        """Return whether there is an image there."""
        project = self._opened()
        if project is None or self._image not in project.images:
            return False
        return project.neighbour(self._image, places) is not None

    def show(self, image: Path) -> bool:
        """Put the layers of an image of the folder in the place of those of the one before."""
        bench, project = self._workbench, self._opened()
        if project is None:
            return False
        if bench.importing.is_busy:
            self._session.say("Labels are being imported. Wait a moment.")
            return False
        self._stop_looking_ahead()
        bench.segmenting.cancel()
        channel = self._channel()
        before, self._image = self._image, image
        if before is not None:
            self._take_away(before)
        opened = bench.opening.open(image, channel=channel)
        self._session.strip = project.strip(image)
        if not opened:
            return False
        self._remember(project, image)
        is_new = bench.document is None and not bench.documents.has_corrections()
        if is_new and bench.problem is None and bench.model is not None:
            self._segment(image)
        return True

    def back(self) -> None:
        """Turn from an image of elsewhere to the one of the folder that was left."""
        bench, left = self._workbench, self._image
        if left is None:
            return
        there = next((one for one in image_layers(bench.viewer.layers) if file_of(one) == str(left)), None)
        if there is not None:
            bench.choose_image(there.name)
        else:
            self.show(left)

    def samples(self, spec: ModelSpec) -> Iterator[Annotated]:
        """Walk what is checked in the other images of the folder; reads files, so in a worker."""
        bench, project, document = self._workbench, self.project, self._workbench.document
        if project is None or self._image is None:
            return iter(())
        numbers = bench.inputs.channels_in_files(spec) if bench.inputs.are_shown(spec) else None
        return project.samples(
            spatial_dims=spec.spatial_dims,
            percentiles=spec.percentiles,
            object_diameter_px=bench.object_size,
            channels=[int(one) for one in numbers] if numbers else None,
            in_channels=spec.in_channels,
            skip=[self._image if document is None or document.store is None else document.store.path],
        )

    def resume(self, work: RecentWork) -> None:
        """Take up the work of another day: image, labels, corrections, undo, model."""
        bench = self._workbench
        known, facts = read_about(Path(work.store))
        level, channel = (None, None) if known is None else (known.level, known.channel)
        if work.image is None or not bench.opening.open(Path(work.image), level, channel):
            return
        axes = "" if known is None else known.axes
        if axes and axes != self._session.axes and bench.image is not None and bench.image.ndim == len(axes):
            bench.choose_image(bench.image.name, axes)
        if facts.get("model") in list_models():
            bench.choosing.choose(str(facts["model"]))
        if bench.image is not None and work.kind != kind_of(bench.spec):
            bench.choosing.begin_again(work.kind, facts)

    def close(self) -> None:
        """Stop looking ahead."""
        self._session.events.prediction.disconnect(self._look_ahead)
        self._session.events.image.disconnect(self._follow)
        self._stop_looking_ahead()

    def _follow(self) -> None:
        """Note which image of the folder was chosen, or that it is one of elsewhere."""
        image, project, session = self._workbench.image, self._opened(), self._session
        if project is None or image is None or not session.image:
            session.is_elsewhere = False
            return
        path = Path(file_of(image))
        session.is_elsewhere = path not in project.images
        if not session.is_elsewhere and path != self._image:
            self._image, session.strip = path, project.strip(path)

    def _channel(self) -> int | None:
        """Return which channel of its file is worked on; None: all of them."""
        image, session = self._workbench.image, self._session
        known = image is not None and session.image and not session.is_elsewhere
        return origin_of(image).channel if image is not None and known else None

    def _segment(self, image: Path) -> None:
        bench, ahead = self._workbench, self._ahead
        if ahead is None or ahead[:2] != (image, self._session.model):
            if self._session.prediction is JobState.IDLE:
                bench.segmenting.segment()
            return
        document = bench.documents.ensure()
        if document is not None and document.labels.shape == ahead[2].labels.shape:
            document.fill(ahead[2].labels, tuple(slice(0, n) for n in document.labels.shape))
            bench.say_next()
        self._ahead = None
        self._look_ahead(JobState.IDLE)

    def _take_away(self, image: Path) -> None:
        """Remove the layers of an image and its labels; they are saved."""
        for one in image_layers(self._workbench.viewer.layers):
            if origin_of(one).path == str(image):
                self._workbench.documents.put_away(one)

    def _remember(self, project: Project, image: Path) -> None:
        try:
            project.set(last=image.name)
        except UNetError as error:
            self._session.say(str(error), problem=True)

    def _look_ahead(self, state: JobState) -> None:
        """Segment the next image that nothing was done in, unless that is under way."""
        bench, project = self._workbench, self.project
        if state is not JobState.IDLE:
            self._stop_looking_ahead()
            return
        if project is None or self._image is None or self._job is not None or bench.model is None:
            return
        target = project.next_to_segment(self._image)
        if target is None or (target, self._session.model) in self._tried:
            return
        self._tried.add((target, self._session.model))
        model, name, config = bench.model, self._session.model, bench.choosing.predict_config()
        channel, level = self._channel(), origin_of(bench.image).level if bench.image is not None else 0
        if channel is not None:
            config = config.model_copy(update={"channels": (channel,)})

        def keep(result: Prediction) -> None:
            self._ahead = (target, name, result)

        self._job = Job(
            "U-Net: the next image",
            lambda stop: _predict_file(target, level, model, config, stop),
            on_result=keep,
            on_error=lambda _: None,  # it is told when the image is opened
            on_end=self._end,
        )
        self._job.start()

    def _end(self) -> None:
        self._job = None

    def _stop_looking_ahead(self) -> None:
        if self._job is not None:
            self._job.abandon()
            self._job = None
            self._tried.clear()


def _predict_file(
    path: Path, level: int, model: Model, config: PredictConfig, stop: StopFlag
) -> Generator[Any, None, Prediction]:
    opened = open_image(path)
    if 0 < level < len(opened.levels):
        opened = open_image(path, level)
    axes = opened.axes or opened.guess.axes
    if not fits([n for letter, n in zip(axes, opened.shape, strict=True) if letter not in "CS"]):
        raise ImageError(f"{path.name} is too large to be segmented before it is looked at.")
    result = yield from iter_predict(opened.data, model, axes=axes, config=config, stop=stop)
    return result
