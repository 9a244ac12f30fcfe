"""The state of the panel: one evented dataclass that panels render and only the workbench changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from psygnal import SignalGroupDescriptor

if TYPE_CHECKING:
    from napari_unet.correction import LabelVersion
    from napari_unet.prediction import Estimate
    from napari_unet.training import Unfinished

__all__ = ["JobState", "Scope", "Session", "SizeFrom", "Tool", "Trial"]


class JobState(StrEnum):
    """Where a background job stands."""

    IDLE = "idle"
    RUNNING = "running"
    STOPPING = "stopping"
    """Told to stop; it ends within a second, a training after the step in progress."""


_ALLOWED = {
    JobState.IDLE: {JobState.RUNNING},
    JobState.RUNNING: {JobState.STOPPING, JobState.IDLE},
    JobState.STOPPING: {JobState.IDLE},
}


class Tool(StrEnum):
    """What a click or stroke in the canvas does."""

    NONE = "none"
    DRAW = "draw"
    BACKGROUND = "background"
    IGNORE = "ignore"
    FORGET = "forget"
    PROPOSE = "propose"
    DELETE = "delete"
    MERGE = "merge"
    SPLIT = "split"
    HOLES = "holes"
    INTERPOLATE = "interpolate"
    EXTEND = "extend"
    CONFIRM = "confirm"


class Scope(StrEnum):
    """What Segment runs on."""

    IMAGE = "image"
    SLICE = "slice"
    VIEW = "view"


class SizeFrom(StrEnum):
    """Where the object size comes from. What the program found gives way to the user, and to other images."""

    NOWHERE = "nowhere"
    """It will be found when the image is segmented."""
    FOUND = "found"
    """By the model, in the image."""
    CHECKED = "checked"
    """Of the checked objects, for a training."""
    USER = "user"


@dataclass(frozen=True)
class Trial:
    """What a model finds in the view.

    Attributes
    ----------
    model : str
    color : str
        Of its outlines.
    found : str
        In words, with the number of objects.
    """

    model: str
    color: str
    found: str


@dataclass
class Session:
    """What the panel shows.

    Attributes
    ----------
    image : str
        Name of the image layer, empty without one.
    axes : str
        Axes of the image.
    object_size : float
        Typical diameter of the objects in pixels; 0: the image is not rescaled.
    size_from : SizeFrom
    model : str
        Name of the model in use, empty without one.
    base : str
        Name of the model that a training in the open folder starts from; empty without a folder.
    classes : tuple of str
        Names of the classes of a model of classes, without the background; empty for one of objects.
    prediction, training : JobState
        At most one job of each kind.
    progress : float
        Of the job the user waits for, 0 to 1; negative: nothing is running.
    importing : float
        How far labels of another program are read, 0 to 1, where that takes a while; negative: none are.
    tool : Tool
    message : str
        What is happening and what to do next.
    problem : bool
        Whether the message tells of a problem.
    checked, corrected : int
        Objects (or voxels, for classes) that are known to be right; those whose shape the user changed.
    objects : int
        How many objects there are; 0 for classes.
    so_far : str
        How much there was to correct, in a sentence; empty while little is checked.
    good_enough : bool
        Whether there was so little to correct of late that the folder can be segmented.
    has_preview : bool
        Whether a newly trained model waits for *Use new* or *Keep old*.
    verdict : str
        How the new model compares.
    advice : str
        What to do with it: ``"use"``, ``"keep"``, ``"unsure"``; empty without one.
    trained_elsewhere : str
        What the last training was of, where that is not what is worked on: ``"on img_03, from 'nuclei'"``; else empty.
    enough : bool
        Whether the training that runs is no longer improving.
    newer : int
        Corrections that were made after the last training had taken its copy.
    step_seconds : float
        What a step of a training costs on this machine; 0 until it is known.
    unfinished : Unfinished or None
        A training that was broken off and can go on, or whose result waits; None without one.
    versions : tuple of LabelVersion
        Models that one can go back to, with the labels they had left; the latest first.
    question : str
        What the user must choose before work on this image can begin: it has other pixels than its corrections.
    offer : str
        What could be done with what is there, such as labels of another program, in a sentence; empty without any.
    offer_buttons : tuple of str
        To do it, and to leave it.
    import_question : str
        What was found in them; waits for *To be checked* or *Truth*.
    strip : str
        Which image of the open folder it is, ``3/12 img_03.tif``; empty without a folder.
    is_elsewhere : bool
        Whether a folder is open and the image is not of it; then `strip` is the image that was left there.
    restorable : bool
        Whether the labels of this image were taken out of the viewer and can be brought back.
    measuring : bool
        Whether a drag in the canvas measures an object.
    trials : tuple of Trial
        What each model finds in the view, while the user chooses one.
    estimates : dict of Scope to Estimate
        What segmenting would take; empty until it is known.
    foreground_threshold, min_prominence, peak_threshold : float or None
        None: the model's own.
    min_size : int or None
        Voxels of the smallest object that counts. None: the model's own.
    fill_holes : bool or None
        Whether holes of objects are filled. None: as the model does.
    average : bool
        Whether the network sees the image in all eight flips and turns.
    min_overlap : float
        From which share on objects of neighbouring slices or frames are linked.
    device, precision, halo : str
        As in `PredictConfig`.
    link_z, link_t : bool
        Link what a model of planes finds in the slices of a stack; what is found through time.
    has_maps : bool
        Whether the maps of the view are shown as layers.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    image: str = ""
    axes: str = ""
    object_size: float = 0.0
    size_from: SizeFrom = SizeFrom.NOWHERE
    model: str = ""
    base: str = ""
    classes: tuple[str, ...] = ()
    prediction: JobState = JobState.IDLE
    training: JobState = JobState.IDLE
    progress: float = -1.0
    importing: float = -1.0
    tool: Tool = Tool.NONE
    message: str = ""
    problem: bool = False
    checked: int = 0
    corrected: int = 0
    objects: int = 0
    so_far: str = ""
    good_enough: bool = False
    segmented: bool = False
    has_preview: bool = False
    verdict: str = ""
    advice: str = ""
    trained_elsewhere: str = ""
    enough: bool = False
    newer: int = 0
    step_seconds: float = 0.0
    unfinished: Unfinished | None = None
    versions: tuple[LabelVersion, ...] = ()
    question: str = ""
    offer: str = ""
    offer_buttons: tuple[str, str] = ("", "")
    import_question: str = ""
    strip: str = ""
    is_elsewhere: bool = False
    restorable: bool = False
    measuring: bool = False
    trials: tuple[Trial, ...] = ()
    estimates: dict[Scope, Estimate] = field(default_factory=dict)
    foreground_threshold: float | None = None
    min_prominence: float | None = None
    peak_threshold: float | None = None
    min_size: int | None = None
    fill_holes: bool | None = None
    average: bool = False
    min_overlap: float = 0.5
    device: str = "auto"
    precision: str = "auto"
    halo: str = "auto"
    link_z: bool = True
    link_t: bool = False
    has_maps: bool = False

    def move(self, job: str, state: JobState) -> None:
        """Move the job `"prediction"` or `"training"` to another state.

        Raises
        ------
        ValueError
            If the job cannot go there from where it stands.
        """
        now: JobState = getattr(self, job)
        if state not in _ALLOWED[now]:
            raise ValueError(f"{job} cannot go from {now} to {state}")
        setattr(self, job, state)

    def say(self, message: str, *, problem: bool = False) -> None:
        """Set the status line."""
        self.problem = problem
        self.message = message
