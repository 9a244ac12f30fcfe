"""Thresholds, linking and device: folded under Segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QSlider, QSpinBox
from superqt import QCollapsible

from napari_unet.gui.doctor import Finding, examine_device
from napari_unet.gui.widgets import button, caption, narrow, on_approach, quiet, row
from napari_unet.gui.worker import Job
from napari_unet.prediction import DECODING, PredictConfig, available_devices

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from threading import Event as StopFlag

    from napari_unet.gui.workbench import Workbench

__all__ = ["SettingsPanel"]

_PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_HALOS = ("auto", "exact", "blended")


class SettingsPanel(QCollapsible):
    """Thresholds, smallest object, holes and Show maps, linking of slices, averaging, halo, device and precision."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__("Thresholds, device")
        self.setObjectName("settings")
        self._workbench = workbench
        self._session = workbench.session
        self._job: Job | None = None
        self._tips = {name: field.description or "" for name, field in PredictConfig.model_fields.items()}
        tuning = workbench.tuning
        self.foreground = self._slider("foreground_threshold", lambda value: tuning.move(foreground=value))
        self.prominence = self._slider("min_prominence", lambda value: tuning.move(prominence=value))
        self.peaks = self._slider("peak_threshold", lambda value: tuning.move(peaks=value), lowest=0)
        self._values = {slider: QLabel() for slider in (self.foreground, self.prominence, self.peaks)}
        self.reset = button("Model's own", tuning.reset, name="reset", tooltip="Back to the thresholds of the model.")
        self.maps = button(
            "Show maps",
            tuning.toggle_maps,
            name="show_maps",
            tooltip="Show what the network says of this view, before the thresholds, as layers.",
            checkable=True,
        )
        self.link_z = self._option("link_z", "Link slices into 3-D objects")
        self.link_t = self._option("link_t", "Link objects through time")
        self.average = self._option("average", "Average over turns, 8 x slower")
        self.smallest = quiet(QSpinBox())
        self.smallest.setObjectName("min_size")
        self.smallest.setRange(0, 10**6)
        self.smallest.setToolTip(self._tips["min_size"])
        self.smallest.setKeyboardTracking(False)
        self.smallest.valueChanged.connect(tuning.leave_out)
        self.holes = quiet(QCheckBox("Fill holes of objects"))
        self.holes.setObjectName("fill_holes")
        self.holes.setToolTip(self._tips["fill_holes"])
        self.holes.toggled.connect(tuning.fill_holes)
        self.overlap = quiet(QDoubleSpinBox())
        self.overlap.setObjectName("min_overlap")
        self.overlap.setRange(0.05, 1)
        self.overlap.setSingleStep(0.05)
        self.overlap.setToolTip(self._tips["min_overlap"])
        self.overlap.setValue(self._session.min_overlap)
        self.overlap.valueChanged.connect(self._choose_overlap)
        self.halo = self._chooser("halo", _HALOS)
        self.device = self._chooser("device", ("auto", *available_devices()), letters=2)
        self.precision = self._chooser("precision", _PRECISIONS)
        self._lay_out()
        self.toggled.connect(self._on_toggled)
        session = self._session.events
        for name in ("image", "axes", "model", *DECODING, "has_maps", "segmented", "link_z", "link_t"):
            getattr(session, name).connect(self._render)
        self._render()

    def _lay_out(self) -> None:
        self._halo_row = row(caption("Halo of tiles"), self.halo, stretch=(0, 1))
        self._smallest_row = row(caption("Smallest object"), self.smallest, stretch=(0, 1))
        self._overlap_row = row(caption("Least overlap"), self.overlap, stretch=(0, 1))
        self._sliders = [
            row(caption("Foreground"), self.foreground, self._values[self.foreground], stretch=(0, 1)),
            row(caption("Prominence"), self.prominence, self._values[self.prominence], stretch=(0, 1)),
            row(caption("Certainty"), self.peaks, self._values[self.peaks], stretch=(0, 1)),
        ]
        for one in (
            *self._sliders,
            self._smallest_row,
            self.holes,
            row(self.maps, self.reset, stretch=(1, 1)),
            self.link_z,
            self.link_t,
            self._overlap_row,
            self.average,
            self._halo_row,
        ):
            self.addWidget(one)
        self.addWidget(row(caption("Device"), self.device, self.precision, stretch=(0, 1, 1)))

    def _slider(self, name: str, move: Callable[[float], None], *, lowest: int = 1) -> QSlider:
        slider = quiet(QSlider(Qt.Orientation.Horizontal))
        slider.setObjectName(name)
        slider.setRange(lowest, 99)
        slider.setToolTip(self._tips[name])
        slider.valueChanged.connect(lambda value: move(value / 100))
        on_approach(slider, self._workbench.tuning.prepare)
        return slider

    def _chooser(self, name: str, choices: Sequence[str], *, letters: int = 4) -> QComboBox:
        made = narrow(QComboBox(), letters)
        made.setObjectName(name)
        made.addItems(list(choices))
        made.setToolTip(self._tips[name])
        made.textActivated.connect(lambda text: setattr(self._session, name, text))
        return made

    def _option(self, name: str, text: str) -> QCheckBox:
        made = quiet(QCheckBox(text))
        made.setObjectName(name)
        made.setToolTip(self._tips[name])
        made.toggled.connect(lambda on: setattr(self._session, name, on))
        return made

    def _choose_overlap(self, share: float) -> None:
        self._session.min_overlap = round(share, 2)

    def _render(self) -> None:
        session, spec = self._session, self._workbench.spec
        instances = spec is not None and spec.task == "instances"
        for holder in self._sliders:
            holder.setVisible(instances)
        self.reset.setVisible(instances)
        self.reset.setEnabled(not self._workbench.tuning.is_own)
        self._smallest_row.setVisible(instances)
        self.holes.setVisible(instances)
        blocked = self.smallest.blockSignals(True)
        self.smallest.setValue(self._workbench.tuning.smallest())
        self.smallest.blockSignals(blocked)
        self.smallest.setEnabled(session.segmented)
        blocked = self.holes.blockSignals(True)
        self.holes.setChecked(self._workbench.tuning.decoder().fill_holes)
        self.holes.blockSignals(blocked)
        self.holes.setEnabled(session.segmented)
        self.smallest.setSuffix(" voxels" if spec is not None and spec.spatial_dims == 3 else " px")
        for slider, value in zip(self._values, self._workbench.tuning.thresholds(), strict=True):
            blocked = slider.blockSignals(True)
            slider.setValue(round(100 * value))
            slider.blockSignals(blocked)
            slider.setEnabled(session.segmented)
            self._values[slider].setText(f"{value:.2f}")
        self.maps.setChecked(session.has_maps)
        self.maps.setEnabled(bool(session.image) and self._workbench.model is not None)
        planes = spec is not None and spec.spatial_dims == 2
        self.link_z.setVisible(instances and planes and "Z" in session.axes)
        self.link_z.setChecked(session.link_z)
        self._halo_row.setVisible(spec is not None and not planes)
        self.link_t.setVisible(instances and "T" in session.axes)
        self.link_t.setChecked(session.link_t)
        links = [(self.link_z, session.link_z), (self.link_t, session.link_t)]
        self._overlap_row.setVisible(any(not one.isHidden() and on for one, on in links))

    def _on_toggled(self, unfolded: bool) -> None:
        """Find out what computes, once."""
        if not unfolded or self._job is not None:
            return

        def run(_: StopFlag) -> Generator[Any, None, list[Finding]]:
            yield from ()
            return examine_device()

        self._job = Job(
            "U-Net device",
            run,
            on_event=lambda _: None,
            on_result=self._show_device,
            on_error=lambda _: None,
            on_end=lambda: None,
        )
        self._job.start()

    def _show_device(self, findings: list[Finding]) -> None:
        lines = [self._tips["device"]]
        for one in findings:
            lines.append(f"{one.what}: {one.found}." + (f" {one.advice}" if one.advice else ""))
        self.device.setToolTip("\n".join(lines))

    def close_connections(self) -> None:
        """End what is under way."""
        if self._job is not None:
            self._job.abandon()
