"""Which image, which axes, which model; new models; and what cannot be used."""

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unet import save_model
from napari_unet.gui.contributions import get_model_reader
from napari_unet.gui.session import Scope, Tool

NEW = "New model..."


def test_the_image_chooser_follows_the_layers(start, discs):
    user = start()
    viewer, combo = user.viewer, user.combo("image")
    assert not combo.isEnabled()
    assert user.says.startswith("Open an image")
    for name in ("segment", "tool_draw", "train", "complete"):
        user.until(lambda name=name: not user.button(name).isEnabled())
    first = viewer.add_image(discs(), name="one")
    viewer.add_labels(np.zeros((8, 8), int), name="not an image")
    assert user.offers("image") == ["one"]
    assert user.session.image == combo.currentText() == "one"
    assert user.panel.source.shape.text() == "64 x 64 uint16"
    # as long as nothing was done with the first image, a new one is the one meant
    viewer.add_image(discs()[:32], name="two")
    assert user.offers("image") == ["one", "two"]
    assert user.session.image == combo.currentText() == "two"
    user.choose("image", "one")
    assert user.session.image == "one"
    user.segment()
    viewer.add_image(discs(), name="three")
    assert user.session.image == combo.currentText() == "one"
    # renamed: it is the same image, with its labels
    labels = user.labels
    first.name = "uno"
    assert user.offers("image") == ["uno", "two", "three"]
    assert user.session.image == combo.currentText() == "uno"
    np.testing.assert_array_equal(user.labels, labels)
    viewer.layers.move(viewer.layers.index("three"), 0)
    assert user.offers("image") == ["three", "uno", "two"]
    assert combo.currentText() == "uno"
    # another image and back: its labels come along
    user.choose("image", "two")
    assert user.panel.workbench.document is None
    user.choose("image", "uno")
    np.testing.assert_array_equal(user.labels, labels)
    viewer.layers.remove("uno")
    assert user.offers("image") == ["three", "two"]
    assert user.session.image == combo.currentText() == "two"
    viewer.layers.clear()
    assert user.offers("image") == []
    assert user.session.image == ""
    assert user.says.startswith("Open an image")
    assert not user.button("segment").isEnabled()


def test_a_file_that_is_opened_is_worked_on_whatever_was_done_before(start, discs, tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", discs())
    tifffile.imwrite(tmp_path / "two.tif", np.tile(discs(), (3, 5)))
    user = start()
    user.viewer.open(tmp_path / "one.tif")
    user.segment()
    labels, shown = user.labels, [user.viewer.layers["one"], *user.document.layers]
    user.viewer.open(tmp_path / "two.tif")
    assert user.session.image == user.combo("image").currentText() == "two"
    assert user.says.startswith("Press Segment")
    # one at a time is seen, all of it
    assert not any(layer.visible for layer in shown)
    user.until(lambda: user.panel.workbench.segmenting.box(Scope.VIEW) == (slice(0, 192), slice(0, 320)))
    user.segment()
    assert user.labels.shape == (192, 320)
    # what is made of it is no other image, and neither is the file a second time
    user.viewer.add_image(np.tile(discs(), (3, 5)) // 2, name="darker")
    user.viewer.open(tmp_path / "two.tif", name="again")
    assert user.session.image == "two"
    user.viewer.open_sample("napari-unet", "nuclei_2d")
    assert user.session.image == "nuclei_2d"
    user.choose("image", "one")
    np.testing.assert_array_equal(user.labels, labels)
    assert all(layer.visible for layer in shown)
    assert not user.viewer.layers["nuclei_2d"].visible


def test_the_wheel_scrolls_the_panel_and_changes_nothing_below_it(user):
    user.segment()
    user.panel.segment.settings.expand(animate=False)
    foreground, plot = user.panel.segment.settings.foreground, user.panel.train.curve.widget
    shown = plot.viewRange()
    values = user.session.model, user.session.object_size, foreground.value()
    for widget in (user.combo("model"), user.panel.source.sizes.object_size, foreground, plot.viewport()):
        place = QPointF(5, 5)
        wheel = QWheelEvent(
            place, QPointF(widget.mapToGlobal(QPoint(5, 5))), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(widget, wheel)
        assert not wheel.isAccepted(), "Qt hands it on to what lies around: the panel"
    assert values == (user.session.model, user.session.object_size, foreground.value())
    assert plot.viewRange() == shown


def test_the_axes_are_those_an_image_can_have(start, discs):
    user = start(discs(), name="plane")
    viewer = user.viewer
    assert user.offers("axes") == ["YX"]
    assert not user.combo("axes").isEnabled()
    assert not user.button("split_channels").isVisible()
    # a guess is explained, and what the user says instead is kept with the layer
    viewer.add_image(discs(6), name="stack")
    assert user.offers("axes") == ["ZYX", "TYX", "CYX"]
    assert "6 planes: taken as Z" in user.panel.source.shape.text()
    assert "6 planes: taken as Z" in user.combo("axes").toolTip()
    assert user.combo("axes").isEnabled()
    user.choose("axes", "TYX")
    assert user.session.axes == "TYX"
    assert "as you chose" in user.combo("axes").toolTip()
    assert viewer.dims.axis_labels == ("t", "y", "x"), "so is the slider called"
    assert user.panel.source.shape.text() == "6 x 64 x 64 uint16"
    user.choose("image", "plane")
    user.choose("image", "stack")
    assert user.session.axes == user.combo("axes").currentText() == "TYX"
    viewer.add_image(discs(3), name="few")
    assert user.session.axes == "CYX"
    assert user.button("split_channels").isVisible()
    viewer.add_image(discs(2, 3), name="four", axis_labels=("t", "z", "y", "x"))
    assert user.offers("axes")[0] == user.session.axes == "TZYX"
    assert {"CZYX", "ZCYX", "TCYX"} < set(user.offers("axes"))
    viewer.add_image(np.zeros((8, 8, 3), np.uint8), name="colours", rgb=True)
    assert user.offers("axes") == ["YXS"]
    viewer.add_image(discs(1, 1, 2), name="five")
    assert user.session.axes == "TCZYX"
    # the labels have the axes of the image but C and S
    for name, axes, shape in [("few", "CYX", (64, 64)), ("four", "TZYX", (2, 3, 64, 64)), ("colours", "YXS", (8, 8))]:
        user.choose("image", name)
        user.choose("axes", axes)
        user.press("tool_draw")
        assert user.labels.shape == shape


def test_the_model_chooser_lists_the_library(user, library, make_model, tmp_path):
    assert user.session.model == user.combo("model").currentText() == "nuclei"
    assert "nuclei" in user.offers("model")
    assert user.offers("model")[-1] == NEW
    assert "nuclei" in user.says
    # a model file that is dropped onto the window
    path = save_model(make_model("worms", classes=("worm",)), tmp_path / "worms")
    get_model_reader(str(path))(str(path))
    assert user.session.model == user.combo("model").currentText() == "worms"
    assert {"nuclei", "worms"} < set(user.offers("model"))
    assert "worms" in user.says
    assert "worms" in user.told.pop()
    user.choose("model", "nuclei")
    assert user.session.model == "nuclei"


def test_the_model_follows_the_ground_of_the_image_until_the_user_chooses(user, discs):
    dark = np.stack([(discs().max() - discs()) // 8] * 3, -1).astype(np.uint8)
    user.viewer.add_image(dark, rgb=True, name="tissue")
    assert user.session.model == user.combo("model").currentText() == "nuclei-stained"
    assert (
        user.says
        == "Dark on bright ground: 'nuclei-stained' is chosen. Press Segment to find nuclei, or draw them yourself."
    )
    user.choose("image", "img")
    assert user.session.model == user.combo("model").currentText() == "nuclei"
    assert user.says.startswith("Press Segment")
    user.choose("image", "tissue")
    user.choose("model", "nuclei")
    user.choose("image", "img")
    user.choose("image", "tissue")
    assert user.session.model == user.combo("model").currentText() == "nuclei"
    assert user.says.startswith("Press Segment")


def test_a_damaged_model_file(user, library):
    (library / "nuclei-stained.safetensors").write_bytes((library / "nuclei.safetensors").read_bytes()[:-1000])
    user.panel.source.show_models()
    offered = user.offers("model")
    assert offered.index("nuclei-stained") == offered.index("nuclei") + 1
    QTest.keyClick(user.combo("model"), Qt.Key.Key_Down)
    assert "nuclei-stained" in user.says
    assert "cut off" in user.says
    assert user.session.problem
    # the model that was in use still is, and the chooser says so
    assert user.session.model == user.combo("model").currentText() == "nuclei"
    user.segment()
    assert user.labels.max() == 5


def test_a_new_model_of_objects(user, trainings, library):
    form = user.panel.source.form
    assert not form.isVisible()
    user.choose("model", NEW)
    in_use = user.session.model
    assert form.isVisible()
    assert not form.dims.isEnabled(), "a plane has no volumes"
    assert not form.classes.isVisible()
    for name, complaint in [("", "name"), ("   ", "name"), ("a/b", "name"), ("nuclei", "already")]:
        user.write("new_name", name)
        user.press("create")
        assert complaint in user.says
        assert user.session.problem
        assert len(user.says.split(". ")) <= 2, "one clear line"
        assert user.session.model == in_use
        assert form.isVisible()
        assert user.panel.workbench.document is None
    user.write("new_name", "yeast")
    user.press("create")
    assert not form.isVisible()
    assert user.session.model == user.combo("model").currentText() == "yeast"
    assert user.session.tool is Tool.DRAW
    assert user.document.editable.mode == "paint"
    assert user.viewer.layers.selection.active == user.document.editable
    assert user.document.editable in user.viewer.layers
    assert not user.labels.any()
    assert "object" in user.says
    assert "background" in user.says
    assert not user.session.problem
    assert not (library / "yeast.safetensors").exists()
    # it knows nothing yet
    user.press("segment")
    assert "not learned anything" in user.says
    assert user.idle
    # and an old one is back with one choice
    user.choose("model", "nuclei")
    user.segment()
    assert user.labels.max() == 5


def test_a_new_model_of_volumes(start, discs, trainings):
    user = start(discs(4))
    user.choose("model", NEW)
    user.write("new_name", "blobs")
    user.choose("new_dims", "3-D (volumes)")
    user.press("create")
    assert user.panel.workbench.spec.spatial_dims == 3
    assert user.labels.shape == (4, 64, 64)
    user.choose("axes", "TYX")
    user.choose("model", NEW)
    assert not user.panel.source.form.dims.isEnabled()
    user.panel.workbench.choosing.begin("films", task="instances", classes=("film",), spatial_dims=3)
    assert "stack" in user.says
    assert user.session.model == "blobs"


def test_a_new_model_of_classes(user, trainings):
    user.choose("model", NEW)
    user.choose("new_task", "classes")
    form = user.panel.source.form
    assert form.classes.isVisible()
    form.classes.selectAll()
    form.classes.setText("gland, stroma , ")
    user.write("new_name", "tissue")
    user.press("create")
    assert user.offers("classes") == ["background", "gland", "stroma", "Add class..."]
    assert user.combo("classes").isVisible()
    assert not user.button("tool_delete").isVisible()
    assert user.button("tool_background").text() == "Erase"
    assert [one.name for one in user.panel.workbench.document.layers] == ["img prediction", "img annotations"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # napari's own, of the empty one
def test_images_that_cannot_be_used(start, discs):
    user = start()
    for words, image, layer in [
        ("empty", np.zeros((0, 64, 64), np.uint8), {}),
        ("pyramid", [discs(), discs()[::2, ::2]], {"multiscale": True}),
        ("6 dimensions", np.zeros((2,) * 6, np.uint8), {}),
    ]:
        user.viewer.add_image(image, name=words, **layer)
        assert words in user.says
        assert user.session.problem
        assert user.session.image == ""
        assert not user.button("segment").isEnabled()
        assert not user.button("tool_draw").isEnabled()
    # a usable one beside them
    user.viewer.add_image(discs(), name="good")
    assert user.session.image == "good"
    assert not user.session.problem
    user.segment()
    # and back to the others: the same words again
    for words in ("empty", "pyramid", "6 dimensions"):
        user.choose("image", words)
        assert words in user.says
        assert user.session.problem
        assert user.panel.workbench.document is None


def test_images_in_which_nothing_is_found(start, discs):
    user = start()
    for name, image, axes, words in [
        ("constant", np.full((32, 32), 7, np.uint8), "YX", "same value"),
        ("nan", np.full((32, 32), np.nan, np.float32), "YX", "nothing to find"),
        ("one pixel", np.zeros((1, 1), np.uint8), "YX", "same value"),
        ("rgb", np.zeros((8, 8, 3), np.uint8), "YXS", "same value"),
    ]:
        user.viewer.add_image(image, name=name, rgb=axes == "YXS")
        user.choose("image", name)
        user.choose("axes", axes)
        user.press("segment")
        user.until(lambda: user.idle)
        assert words in user.says
        assert user.session.problem
        assert not user.labels.any()
        assert user.button("segment").isEnabled()


def test_nan_pixels_and_many_planes_are_no_problem(start, discs):
    image = discs(2, 2).astype(np.float32)
    image[0, 0, :4, :4] = np.nan
    image[1, 1, 60:, 60:] = np.inf
    user = start(image)
    assert user.session.axes == "TZYX"
    user.segment()
    assert len(np.unique(user.labels)) == 11
    assert user.says.startswith("10 objects")
