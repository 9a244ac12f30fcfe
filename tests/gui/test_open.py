"""Images from files, their axes and channels, and which of them feed a model."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtWidgets import QFileDialog, QLabel

from napari_unet import save_model
from napari_unet.gui.origin import origin_of, remember
from napari_unet.gui.session import Tool
from napari_unet.models import ClassSpec, Model, ModelSpec, NetworkSpec


@pytest.fixture
def pick(monkeypatch):
    """Answer the file dialog of the system."""

    def answer(*paths):
        monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(path) for path in paths], ""))

    return answer


@pytest.fixture
def two_channels(discs, tmp_path):
    """An OME-TIFF of two channels and three slices, with sizes and names."""
    path = tmp_path / "cells.ome.tif"
    data = np.stack([discs(3)[:, ::-1], discs(3)], axis=1)
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["actin", "DAPI"]}}
    metadata |= {f"PhysicalSize{letter}": size for letter, size in (("Z", 2.0), ("Y", 0.5), ("X", 0.5))}
    tifffile.imwrite(path, data, metadata=metadata, ome=True)
    return path


def test_opening_a_file_makes_a_layer_of_each_channel(start, pick, two_channels, discs):
    user = start()
    pick(two_channels)
    user.press("open_image")
    names = [layer.name for layer in user.viewer.layers]
    assert names == ["cells actin", "cells DAPI"]
    assert user.session.image == "cells actin"
    assert user.session.axes == "ZYX"
    for layer in user.viewer.layers:
        np.testing.assert_allclose(layer.scale, (2.0, 0.5, 0.5))
        assert layer.data.shape == (3, 64, 64)
    assert user.viewer.layers[1].blending == "additive", "both are seen at once"
    assert "2 x 0.5 x 0.5 µm" in user.panel.source.shape.text()
    assert not user.button("split_channels").isVisible()
    user.choose("image", "cells DAPI")
    user.segment()
    np.testing.assert_array_equal(user.labels > 0, discs(3) > 600)
    np.testing.assert_allclose(user.document.editable.scale, (2.0, 0.5, 0.5))


def test_a_file_that_cannot_be_read_is_a_message(start, pick, tmp_path):
    user = start()
    (tmp_path / "half.tif").write_bytes(b"II*\x00 and no more")
    pick(tmp_path / "half.tif")
    user.press("open_image")
    assert "half.tif cannot be read" in user.says
    assert user.session.problem
    assert not user.viewer.layers
    pick()
    user.press("open_image")  # the dialog was cancelled
    assert not user.viewer.layers


def test_the_level_of_a_pyramid_is_the_one_that_the_model_knows(start, pick, tmp_path, library, make_model, discs):
    known = make_model("sized")
    save_model(Model(known.network, known.spec.model_copy(update={"object_diameter_px": 13.0})), library / "sized")
    large = np.kron(discs(), np.ones((2, 2), np.uint16))
    group = zarr.open_group(tmp_path / "pyramid.zarr", mode="w", zarr_format=2)
    for number, data in enumerate((large, discs())):
        group.create_array(str(number), shape=data.shape, dtype=data.dtype, chunks=(64, 64))[:] = data
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": one, "type": "space", "unit": "micrometer"} for one in "yx"],
            "datasets": [
                {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [side, side]}]}
                for n, side in enumerate((0.5, 1.0))
            ],
        }
    ]
    user = start()
    user.choose("model", "sized")
    user.panel.workbench.sizing.choose(26.0)
    pick(tmp_path / "pyramid.zarr" / ".zattrs")
    user.press("open_image")
    assert [layer.data.shape for layer in user.viewer.layers] == [(64, 64)]
    assert user.combo("level").isVisible()
    assert user.combo("level").currentText() == "level 1"
    np.testing.assert_allclose(user.viewer.layers[0].scale, (1.0, 1.0))
    # another one in its place, lying on the same ground
    user.choose("level", "level 0")
    assert [layer.data.shape for layer in user.viewer.layers] == [(128, 128)]
    np.testing.assert_allclose(user.viewer.layers[0].scale, (0.5, 0.5))


def test_axes_that_napari_was_not_told_come_from_the_file(start, two_channels):
    user = start()
    user.viewer.open(str(two_channels), plugin="napari")
    assert user.session.axes == "ZCYX"
    assert "ZCYX" in user.combo("axes").toolTip()
    # labels would follow the slider of the channels
    user.press("segment")
    assert "Press Split channels" in user.says
    assert user.panel.workbench.document is None
    user.press("split_channels")
    assert [layer.name for layer in user.viewer.layers] == ["cells.ome actin", "cells.ome DAPI"]
    assert user.session.axes == "ZYX"
    assert not user.session.problem
    user.segment()
    assert user.labels.shape == (3, 64, 64)


def test_splitting_keeps_scale_and_place(start, discs):
    user = start(
        discs(2), axis_labels=("c", "y", "x"), scale=(1, 0.5, 0.5), translate=(0, 7, 8), name="two", zoom=False
    )
    assert user.session.axes == "CYX"
    user.press("split_channels")
    assert [layer.name for layer in user.viewer.layers] == ["two channel 1", "two channel 2"]
    for layer in user.viewer.layers:
        np.testing.assert_allclose(layer.scale, (0.5, 0.5))
        np.testing.assert_allclose(layer.translate, (7, 8))
    assert user.viewer.layers[1].blending == "additive", "both are seen at once"
    assert user.viewer.layers[0].colormap.name != user.viewer.layers[1].colormap.name
    # colours, and an image that has labels already: it stays, hidden
    user.viewer.add_image(np.dstack([discs() // 8] * 3).astype(np.uint8), name="colours", rgb=True)
    user.choose("image", "colours")
    user.segment()
    user.press("split_channels")
    assert {"colours red", "colours green", "colours blue"} < {layer.name for layer in user.viewer.layers}
    assert not user.viewer.layers["colours"].visible
    assert user.session.image == "colours red"


def test_a_channel_of_the_image_feeds_the_model(start, discs):
    dark = discs() * 0 + np.arange(64, dtype=np.uint16)
    user = start(np.stack([dark, discs()]), axis_labels=("c", "y", "x"))
    assert user.offers("input_image") == ["img: channel 1", "img: channel 2"]
    user.choose("input_image", "img: channel 2")
    user.segment()
    np.testing.assert_array_equal(user.labels > 0, discs() > 600)
    # what is learned from is what the model sees
    user.press("complete")
    sample = user.document.snapshot(user.panel.workbench.spec)[0][0]
    np.testing.assert_array_equal(np.squeeze(sample.image), discs())
    user.choose("input_image", "img: channel 1")
    sample = user.document.snapshot(user.panel.workbench.spec)[0][0]
    np.testing.assert_array_equal(np.squeeze(sample.image), dark)


def test_a_model_of_one_channel_sees_the_brightness_of_colours(start, discs):
    # each third of it is bright in another colour
    third = np.arange(64)[None] // 22
    colours = np.stack([np.where(third == n, discs() // 5, 0) for n in range(3)], -1).astype(np.uint8)
    user = start(colours, rgb=True)
    assert user.offers("input_image") == ["img: grey", "img: red", "img: green", "img: blue"]
    assert user.combo("input_image").currentText() == "img: grey"
    user.choose("input_image", "img: red")
    user.segment()
    found = user.labels > 0
    assert found[:, :22].any()
    assert not found[:, 30:].any()
    user.choose("input_image", "img: grey")
    user.segment()
    assert all((user.labels > 0)[:, n * 22 : (n + 1) * 22].any() for n in range(3))
    user.press("complete")
    sample = user.document.snapshot(user.panel.workbench.spec)[0][0]
    np.testing.assert_allclose(np.squeeze(sample.image), colours.mean(-1), rtol=1e-6)


def test_a_new_model_sees_the_colours_of_an_image(start, discs, library, trainings):
    colours = np.stack([discs(), discs() // 2, discs() * 0 + 300], -1).clip(0, 1100) // 5
    user = start(colours.astype(np.uint8), rgb=True, zoom=False)
    user.look_at(slice(0, 64), slice(0, 64))
    user.choose("model", "New model...")
    assert user.offers("new_channels") == ["their brightness", "all 3: red, green, blue"]
    assert user.combo("new_channels").currentText().startswith("all 3")
    user.write("new_name", "stained")
    user.press("create")
    assert user.panel.workbench.spec.channels == ("red", "green", "blue")
    captions = {label.text() for label in user.panel.source.inputs.findChildren(QLabel)}
    assert {"red ←", "green ←", "blue ←"} <= captions
    assert user.session.tool is Tool.DRAW
    user.document.editable.brush_size = 6
    for y, x in ((12, 12), (12, 44)):
        user.stroke(np.array([(y, x - 2.0), (y, x + 2.0)]))
    user.use_tool("background")
    user.stroke(np.linspace((60, 30), (60, 40), 4))
    sample = user.document.snapshot(user.panel.workbench.spec)[0][0]
    np.testing.assert_array_equal(np.squeeze(sample.image), np.moveaxis(colours, -1, 0))
    user.train()
    user.press("use_new")
    user.until(lambda: user.idle)
    assert user.panel.workbench.model.spec.in_channels == 3
    # one that sees a single channel, and one of an image that has no more
    user.choose("model", "New model...")
    user.choose("new_channels", "their brightness")
    user.write("new_name", "red alone")
    user.press("create")
    assert user.panel.workbench.spec.in_channels == 1
    user.viewer.add_image(discs(), name="gray")
    user.choose("image", "gray")
    user.choose("model", "New model...")
    assert not user.combo("new_channels").isVisible()


def test_channels_of_one_name_are_told_apart(start, discs):
    user = start(np.stack([discs(), discs() // 2]), axis_labels=("c", "y", "x"))
    layer = user.viewer.layers["img"]
    remember(layer, replace(origin_of(layer), channels=("DAPI", "DAPI")))
    assert user.panel.workbench.inputs.offers(user.panel.workbench.spec) == ["img: DAPI (1)", "img: DAPI (2)"]


def test_two_layers_feed_a_model_of_two_inputs(start, discs, library):
    spec = ModelSpec(
        name="pair",
        channels=("actin", "DAPI"),
        classes=(ClassSpec(name="cell"),),
        network=NetworkSpec(features=(4, 8), norm="none"),
    )
    save_model(Model(spec.build_network().eval(), spec), library / "pair")
    user = start(discs(), name="dapi stain")
    assert not user.panel.source.inputs.isVisible(), "one input and one channel: nothing to choose"
    user.choose("model", "pair")
    assert user.panel.source.inputs.isVisible()
    user.press("segment")
    user.until(lambda: user.idle)
    assert "1 channel but the model 'pair' takes 2 (actin, DAPI)" in user.says
    user.viewer.add_image(discs()[:, ::-1], name="other")
    user.viewer.add_image(discs()[:32], name="smaller")
    user.choose("image", "dapi stain")
    assert user.offers("input_DAPI") == ["dapi stain", "other"]
    # by their names
    assert user.combo("input_DAPI").currentText() == "dapi stain"
    assert user.combo("input_actin").currentText() == "other"
    captions = {label.text() for label in user.panel.source.inputs.findChildren(QLabel)}
    assert captions == {"actin ←", "DAPI ←"}
    pixels, axes = user.panel.workbench.inputs.pixels(spec)
    assert axes == "CYX"
    np.testing.assert_array_equal(pixels, [discs()[:, ::-1], discs()])
    user.press("segment")
    user.until(lambda: user.idle)
    assert "object" in user.says
