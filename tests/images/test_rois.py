"""Outlines for Fiji: nothing is lost on the way there and back."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from roifile import ROI_TYPE, ImagejRoi

from napari_unet.errors import ImageError
from napari_unet.images import labels_to_rois, read_rois, rois_to_labels, write_rois

if TYPE_CHECKING:
    from pathlib import Path

shapes = st.sampled_from(
    [("YX", (7, 9)), ("XY", (6, 5)), ("ZYX", (2, 6, 7)), ("TYX", (3, 4, 5)), ("TZYX", (2, 2, 5, 5))]
)


@settings(max_examples=60)
@given(st.data(), shapes)
def test_labels_come_back_as_they_were(data: st.DataObject, named: tuple[str, tuple[int, ...]]) -> None:
    axes, shape = named
    labels = data.draw(hnp.arrays(np.int32, shape, elements=st.sampled_from([0, 1, 2, 3, 2_000_000])))
    rois = [ImagejRoi.frombytes(roi.tobytes()) for roi in labels_to_rois(labels, axes)]
    if not labels.any():
        assert rois == []
        return
    np.testing.assert_array_equal(rois_to_labels(rois, shape, axes), labels)


def test_a_square_has_its_four_corners() -> None:
    labels = np.zeros((50, 60), np.int32)
    labels[10:20, 30:45] = 12
    (roi,) = labels_to_rois(labels, "YX")
    assert (roi.name, roi.roitype) == ("12", ROI_TYPE.TRACED)
    assert {tuple(point) for point in roi.coordinates()} == {(30, 10), (45, 10), (45, 20), (30, 20)}
    assert (roi.left, roi.top, roi.right, roi.bottom) == (30, 10, 45, 20)


def test_holes_and_parts_are_one_roi() -> None:
    labels = np.zeros((30, 30), np.int32)
    labels[2:12, 2:12], labels[5:8, 5:8], labels[20:25, 20:25] = 1, 0, 1
    (roi,) = labels_to_rois(labels, "YX")
    again = ImagejRoi.frombytes(roi.tobytes())
    assert again.composite
    np.testing.assert_array_equal(rois_to_labels([again], (30, 30), "YX"), labels)


def test_numbers_below_1_are_no_objects() -> None:
    labels = np.full((9, 9), -1)
    labels[0:3] = 0
    labels[4:7, 4:7] = 5
    assert [roi.name for roi in labels_to_rois(labels, "YX")] == ["5"]


def test_far_away_coordinates() -> None:
    wide = np.zeros((4, 70_000), np.int32)
    wide[1:3, 40_000:40_010], wide[1:3, 69_990:70_000] = 1, 2
    rois = [ImagejRoi.frombytes(roi.tobytes()) for roi in labels_to_rois(wide, "YX")]
    np.testing.assert_array_equal(rois_to_labels(rois, wide.shape, "YX"), wide)


def test_planes_of_a_stack_are_named_and_placed(tmp_path: Path) -> None:
    labels = np.zeros((2, 3, 8, 8), np.int32)
    labels[1, 1:, 2:5, 2:5] = 5
    assert write_rois(tmp_path / "a-rois.zip", zarr.create_array({}, data=labels), "TZYX") == 2
    with zipfile.ZipFile(tmp_path / "a-rois.zip") as file:
        assert file.namelist() == ["5_t2_z2.roi", "5_t2_z3.roi"]
    rois = read_rois(tmp_path / "a-rois.zip")
    assert [(roi.t_position, roi.z_position) for roi in rois] == [(2, 2), (2, 3)]
    (single,) = labels_to_rois(labels[1, 2], "YX")
    assert (single.position, single.z_position) == (0, 0)
    stacked = list(labels_to_rois(labels[1], "ZYX"))
    assert [(roi.position, roi.z_position) for roi in stacked] == [(2, 2), (3, 3)]


def test_what_was_drawn_in_fiji_becomes_objects() -> None:
    box = ImagejRoi(roitype=ROI_TYPE.RECT, left=2, top=3, right=6, bottom=8, name="0012-0345")
    oval = ImagejRoi(roitype=ROI_TYPE.OVAL, left=20, top=20, right=40, bottom=30, name="cell")
    free = ImagejRoi.frompoints(np.array([(10.2, 10.2), (15.1, 10.2), (15.1, 13.3), (10.2, 13.3)]))
    line = ImagejRoi(roitype=ROI_TYPE.LINE, x1=0, y1=0, x2=9, y2=9)
    labels = rois_to_labels([box, line, oval, free], (50, 50), "YX")
    assert labels.max() == 3, "numbered in their order; a line has no area"
    assert (labels[3:8, 2:6] == 1).all()
    assert (labels == 1).sum() == 20
    assert (labels == 2).sum() == pytest.approx(np.pi * 10 * 5, rel=0.03)
    assert labels[25, 30] == 2
    assert np.argwhere(labels == 3).tolist() == [[y, x] for y in (10, 11, 12) for x in range(10, 15)]
    outside = ImagejRoi(roitype=ROI_TYPE.RECT, left=-5, top=-5, right=2, bottom=2, name="1")
    assert np.argwhere(rois_to_labels([outside], (9, 9), "YX")).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_rois_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    line = ImagejRoi(roitype=ROI_TYPE.LINE, x1=0, y1=0, x2=9, y2=9)
    with pytest.raises(ImageError, match="None of the ROIs encloses an area"):
        rois_to_labels([line], (9, 9), "YX")
    box = ImagejRoi(roitype=ROI_TYPE.RECT, left=2, top=3, right=6, bottom=8, name="a")
    with pytest.raises(ImageError, match=r"ROI 'a' does not say which slice of 4 along Z .*Associate ROIs with slices"):
        rois_to_labels([box], (4, 9, 9), "ZYX")
    with pytest.raises(ImageError, match="There are no ROIs"):
        read_rois(tmp_path / "no.zip")
    (tmp_path / "bad.zip").write_text("hello")
    with pytest.raises(ImageError, match=r"bad\.zip cannot be read .*Save it again from Fiji"):
        read_rois(tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(ImageError, match="holds no ROIs"):
        read_rois(tmp_path / "empty.zip")


def test_outlines_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    class Breaks:
        shape = (3, 8, 8)

        def __getitem__(self, key: Any) -> Any:
            if key[0] == 2:
                raise MemoryError
            return np.ones((3, 8, 8), np.int32)[key]

    with pytest.raises(MemoryError):
        write_rois(tmp_path / "a-rois.zip", Breaks(), "ZYX")
    assert list(tmp_path.iterdir()) == []
