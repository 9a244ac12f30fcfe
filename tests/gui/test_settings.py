"""What the mouse and the keys do to the settings of the panel, and what they leave to the canvas."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QSlider, QSpinBox


def turn_the_wheel(widget):
    """Turn the wheel by a notch towards the user, with the mouse over a widget; return whether it was of use there."""
    where = QPointF(widget.rect().center())
    none = Qt.MouseButton.NoButton
    event = QWheelEvent(
        where, widget.mapToGlobal(where), QPoint(0, 0), QPoint(0, -120), none, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def value(widget):
    return widget.currentText() if isinstance(widget, QComboBox) else widget.value()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (QComboBox, "minutes"),
        (QComboBox, "model"),
        (QComboBox, "complete_scope"),
        (QSpinBox, "min_size"),
        (QSlider, "foreground_threshold"),
    ],
)
def test_the_wheel_over_a_setting_scrolls_the_panel(user, kind, name):
    user.panel.segment.settings.expand(animate=False)
    user.segment()
    setting = user.panel.findChild(kind, name)
    before = value(setting)
    assert not turn_the_wheel(setting), "a real one goes on to what scrolls"
    assert value(setting) == before


def take_focus(user, name):
    """Give a number the keys, as a click into it does."""
    number = user.panel.findChild(QSpinBox, name)
    assert number.focusPolicy() & Qt.FocusPolicy.ClickFocus
    number.setFocus()
    assert user.panel.window().focusWidget() is number
    number.selectAll()
    return number


def test_a_number_takes_the_keys_until_it_is_said(user):
    user.panel.segment.settings.expand(animate=False)
    user.segment()
    number = take_focus(user, "min_size")
    QTest.keyClicks(number, "20")
    QTest.keyClick(number, Qt.Key.Key_Return)
    assert user.session.min_size == 20
    assert user.panel.window().focusWidget() is not number
    user.until(lambda: user.idle)
    assert user.session.objects == 5
    # one that was typed counts without Enter, too
    take_focus(user, "min_size")
    QTest.keyClicks(number, "500")
    user.button("segment").click()  # a window that is not active loses the focus at a press
    user.until(lambda: user.idle and not user.session.objects)


def test_a_chooser_leaves_the_keys_to_the_canvas(user):
    minutes = user.combo("minutes")
    assert not minutes.focusPolicy() & Qt.FocusPolicy.ClickFocus
    QTest.mouseClick(minutes, Qt.MouseButton.LeftButton)
    QTest.keyClick(minutes.view(), Qt.Key.Key_Down)
    QTest.keyClick(minutes.view(), Qt.Key.Key_Return)
    assert minutes.currentText() == "10 min"
    assert user.panel.window().focusWidget() is not minutes
