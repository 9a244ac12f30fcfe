"""How large the objects are: a number, a drag across one, or the model that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_unet.gui.session import JobState, SizeFrom
from napari_unet.gui.widgets import button, caption, quiet, row

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["SizePanel"]


class SizePanel(QWidget):
    """The object size with Measure, and the models side by side."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self._session = workbench.session
        self.object_size = quiet(QSpinBox())
        self.object_size.setObjectName("object_size")
        self.object_size.setRange(0, 2000)
        self.object_size.setSuffix(" px")
        self.measure = button("Measure", workbench.sizing.measure, name="measure", checkable=True)
        self.try_models = button("Try models", workbench.trying.start, name="try_models", checkable=True)
        self._trials = QWidget()
        self._trials.setObjectName("trials")
        self._inside = QVBoxLayout(self._trials)
        self._inside.setContentsMargins(0, 0, 0, 0)
        self._inside.setSpacing(2)
        self._choices: list[QPushButton] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row(caption("Object size"), self.object_size, self.measure, stretch=(0, 3, 2)))
        layout.addWidget(self._trials)
        self.object_size.valueChanged.connect(self._choose)
        for name in ("image", "model", "object_size", "size_from", "measuring", "prediction"):
            getattr(self._session.events, name).connect(self._render)
        self._session.events.trials.connect(self._show_trials)
        self._render()
        self._show_trials()

    def _choose(self, pixels: int) -> None:
        self._workbench.sizing.choose(float(pixels) if pixels > 1 else 0.0)

    def _render(self) -> None:
        session, spec = self._session, self._workbench.spec
        known = spec.object_diameter_px if spec is not None else None
        blocked = self.object_size.blockSignals(True)
        is_open = session.size_from is SizeFrom.NOWHERE and known is not None
        self.object_size.setSpecialValueText("automatic" if is_open else "as it is")
        self.object_size.setValue(round(session.object_size))
        self.object_size.blockSignals(blocked)
        self.object_size.setEnabled(known is not None)
        self.object_size.setToolTip(
            f"Typical diameter of the objects in the image, or the width of long ones. Objects that {session.model!r} "
            f"learned from were {known:.0f} px wide; where yours differ much, the image is rescaled for the model. "
            "Automatic: Segment finds it. 0: the image stays as it is."
            if known is not None
            else "This model does not know the size of its objects yet."
        )
        self.measure.setChecked(session.measuring)
        self.measure.setEnabled(bool(session.image) and known is not None)
        self.measure.setToolTip(
            "Drag a line across one object in the image, across its width if it is long: that becomes the object size."
        )
        self.try_models.setEnabled(bool(session.image) and session.prediction is JobState.IDLE)
        self.try_models.setChecked(bool(session.trials))
        self.try_models.setToolTip("Show side by side what each model of the library finds in this view.")

    def _show_trials(self) -> None:
        while self._choices:
            self._choices.pop().deleteLater()
        for trial in self._session.trials:
            one = self._choice(trial.model, trial.found)
            one.setStyleSheet(f"QPushButton {{ text-align: left; border-left: 6px solid {trial.color}; }}")
            self._inside.addWidget(one)
            self._choices.append(one)
        self._trials.setVisible(bool(self._session.trials))
        self.try_models.setChecked(bool(self._session.trials))

    def _choice(self, model: str, found: str) -> QPushButton:
        made = button(
            f"{model}: {found}",
            lambda: self._workbench.trying.choose(model),
            name=f"trial_{model}",
            tooltip=f"Use {model!r}. {found}",
        )
        made.setMinimumWidth(1)
        return made
