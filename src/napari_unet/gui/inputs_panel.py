"""Rows such as ``nucleus <- [DAPI]``: what feeds each input of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_unet.gui.widgets import caption, narrow, row, set_choices

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["InputsPanel"]


class InputsPanel(QWidget):
    """A chooser for each input of the model; hidden where there is nothing to choose."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self._rows: list[QWidget] = []
        self._combos: list[QComboBox] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        for name in ("image", "axes", "model"):
            getattr(workbench.session.events, name).connect(self.render_rows)
        self.render_rows()

    def render_rows(self) -> None:
        """Show what can be chosen now."""
        bench, spec = self._workbench, self._workbench.spec
        shown = bench.inputs.are_shown(spec)
        self.setVisible(shown)
        names = spec.channels if spec is not None and shown else ()
        if names != tuple(combo.property("input") for combo in self._combos):
            self._make_rows(names)
        if spec is not None and shown:
            offers = bench.inputs.offers(spec)
            for combo, one in zip(self._combos, bench.inputs.of(spec), strict=True):
                set_choices(combo, offers, one)

    def _make_rows(self, names: tuple[str, ...]) -> None:
        self._combos.clear()
        while self._rows:
            self._rows.pop().deleteLater()
        for name in names:
            combo = narrow(QComboBox())
            combo.setObjectName(f"input_{name}")
            combo.setProperty("input", name)
            combo.setToolTip(f"The channel that the model takes for {name!r}: of this image, or of one as large.")
            combo.textActivated.connect(lambda offer, name=name: self._workbench.inputs.choose(name, offer))
            self._combos.append(combo)
            self._rows.append(row(caption(f"{name} \N{LEFTWARDS ARROW}"), combo, stretch=(0, 1)))
            self._column.addWidget(self._rows[-1])
