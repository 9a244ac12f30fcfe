"""Outlines: what is left of labels, and what napari makes of the layer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from scipy import ndimage as ndi

from napari_unet.gui.outline_layer import OutlineLayer, only_outlines


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.integers(0, 3),
    ),
    st.integers(1, 9),
)
def test_what_is_further_inside_is_left_out(labels, thickness):
    inside = ndi.maximum_filter(labels, 3) == ndi.minimum_filter(labels, 2 * thickness + 1)
    np.testing.assert_array_equal(only_outlines(labels, thickness, 0), np.where(inside, 0, labels))


@pytest.mark.parametrize("thickness", [1, 4])
def test_what_is_written_is_shown_as_if_all_were_drawn_anew(thickness):
    data = np.zeros((3, 60, 70), np.uint8)
    layer = OutlineLayer(data, colormap=DirectLabelColormap(color_dict={None: "transparent", 1: "red"}))
    layer.contour = thickness
    layer.data_setitem(np.nonzero(np.pad(np.ones((1, 30, 40)), ((0, 2), (7, 23), (9, 21)))), 1)
    shown = np.array(layer._slice.image.view)
    layer.refresh()
    np.testing.assert_array_equal(shown, layer._slice.image.view)
    assert (shown[7:37, 9 : 9 + thickness] > 0).all()
    assert not shown[7 + thickness : 37 - thickness, 9 + thickness : 49 - thickness].any()


def test_napari_takes_it_for_labels(tmp_path, make_napari_viewer_proxy):
    layer = OutlineLayer(np.eye(8, dtype=np.uint8))
    assert layer.as_layer_data_tuple()[2] == "labels"
    viewer = make_napari_viewer_proxy()
    viewer.add_layer(layer)
    layer.save(str(tmp_path / "status.tif"))
    (back,) = viewer.open(tmp_path / "status.tif", layer_type="labels")
    assert isinstance(back, Labels)
    np.testing.assert_array_equal(back.data, layer.data)
