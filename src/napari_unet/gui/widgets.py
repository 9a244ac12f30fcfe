"""Small widgets that the panels share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_W = TypeVar("_W", bound=QWidget)

__all__ = [
    "Section",
    "button",
    "caption",
    "narrow",
    "on_approach",
    "quiet",
    "row",
    "set_choices",
    "set_highlight",
    "set_style",
    "wrapped_label",
]


class Section(QFrame):
    """A heading with what belongs to it below."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setObjectName("section")
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 4, 0, 0)
        self._layout.setSpacing(4)
        heading = QLabel(title)
        heading.setStyleSheet("font-weight: bold;")
        self._layout.addWidget(heading)

    def add(self, widget: QWidget) -> None:
        """Append a widget."""
        self._layout.addWidget(widget)


def button(
    text: str, on_click: Callable[[], None], *, name: str, tooltip: str = "", checkable: bool = False
) -> QPushButton:
    """Return a push button that may shrink with the panel."""
    made = QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tooltip)
    made.setCheckable(checkable)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    made.setMinimumWidth(made.fontMetrics().horizontalAdvance(text) + 14)
    # a double click is two clicks; Space and Enter belong to the canvas
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def click() -> None:
        window = made.window()
        focus = None if window is None else window.focusWidget()
        if isinstance(focus, QAbstractSpinBox):
            focus.interpretText()  # a number that was typed without Enter counts, too
            focus.clearFocus()
        on_click()

    made.clicked.connect(lambda _checked=False: click())
    return made


def quiet(widget: _W) -> _W:
    """Let the wheel scroll the panel where the mouse is over a setting, and the keys stay the canvas's; return it.

    A click into a number or on a slider gives it both, until Enter or a click elsewhere.
    """
    takes_keys = isinstance(widget, QAbstractSpinBox | QAbstractSlider)
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus if takes_keys else Qt.FocusPolicy.TabFocus)
    widget.installEventFilter(_PassesTheWheelOn(widget))
    if isinstance(widget, QAbstractSpinBox):
        widget.editingFinished.connect(widget.clearFocus)
    return widget


class _PassesTheWheelOn(QObject):
    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def on_approach(widget: QWidget, call: Callable[[], None]) -> None:
    """Call a function when a person is about to use a widget: presses a mouse button on it, or comes to it with Tab."""
    widget.installEventFilter(_Approached(widget, call))


class _Approached(QObject):
    def __init__(self, widget: QWidget, call: Callable[[], None]) -> None:
        super().__init__(widget)
        self._call = call

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802 - Qt's name
        tabs = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        tabbed = event.type() == QEvent.Type.FocusIn and event.reason() in tabs
        if watched.isEnabled() and (tabbed or event.type() == QEvent.Type.MouseButtonPress):
            self._call()
        return False


def caption(text: str) -> QLabel:
    """Return what stands before a chooser."""
    label = QLabel(text)
    label.setMinimumWidth(42)
    label.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Preferred)
    return label


def narrow(combo: QComboBox, letters: int = 5) -> QComboBox:
    """Let a `quiet` combo box shrink with the panel, whatever its entries are; return it."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(letters)
    return quiet(combo)


def row(*widgets: QWidget, stretch: tuple[int, ...] = ()) -> QWidget:
    """Return the widgets side by side."""
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for place, widget in enumerate(widgets):
        layout.addWidget(widget, stretch[place] if place < len(stretch) else 0)
    return holder


def wrapped_label(name: str) -> QLabel:
    """Return a label that wraps instead of widening the panel."""
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def set_choices(combo: QComboBox, choices: list[str], current: str) -> None:
    """Show other choices in a combo box without telling anybody."""
    blocked = combo.blockSignals(True)
    if [combo.itemText(n) for n in range(combo.count())] != choices:
        combo.clear()
        combo.addItems(choices)
    combo.setCurrentIndex(choices.index(current) if current in choices else -1)
    combo.blockSignals(blocked)


def set_highlight(widget: QPushButton, on: bool) -> None:
    """Make a button stand out as the next sensible step."""
    set_style(widget, "QPushButton:enabled { background-color: #2f6fde; color: white; }" if on else "")


def set_style(widget: QWidget, sheet: str) -> None:
    """Give a widget a style sheet, unless it has it: Qt works all of it out again, each time."""
    if widget.styleSheet() != sheet:
        widget.setStyleSheet(sheet)
