"""Measurements: what a biologist plots must be what is in the images."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi

from napari_unet.errors import ImageError
from napari_unet.prediction import measure, write_measurements

if TYPE_CHECKING:
    from pathlib import Path


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Any, Any, str]:
    ndim = draw(st.sampled_from([2, 3]))
    shape = draw(hnp.array_shapes(min_dims=ndim, max_dims=ndim, min_side=2, max_side=6))
    labels = draw(hnp.arrays(np.int32, shape, elements=st.sampled_from([0, 0, 1, 2, 7, 2_000_000_000])))
    image = draw(hnp.arrays(np.float32, (2, *shape), elements=st.floats(-100, 100, width=16)))
    return labels, image, "YX" if ndim == 2 else "ZYX"


@settings(max_examples=40)
@given(labelled())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_number_is_that_of_the_pixels(given_: tuple[Any, Any, str]) -> None:
    labels, image, axes = given_
    size = {"Z": 3.0, "Y": 0.5, "X": 0.25}
    table = measure(
        labels, axes, image, f"C{axes}", spatial_dims=len(axes), pixel_size_um=size, channel_names=["DAPI", "actin"]
    )
    ids = [n for n in np.unique(labels) if n]
    assert table["id"].tolist() == ids
    kind, voxel = ("area", 0.125) if len(axes) == 2 else ("volume", 0.375)
    for row, number in enumerate(ids):
        where = np.nonzero(labels == number)
        assert table[f"{kind}_px"][row] == len(where[0])
        assert table[f"{kind}_um{len(axes)}"][row] == pytest.approx(len(where[0]) * voxel)
        for letter, coordinates in zip(axes.lower(), where, strict=True):
            assert table[f"first_{letter}"][row] == coordinates.min()
            assert table[f"end_{letter}"][row] == coordinates.max() + 1
            assert table[f"centroid_{letter}"][row] == pytest.approx(coordinates.mean())
            assert table[f"centroid_{letter}_um"][row] == pytest.approx(coordinates.mean() * size[letter.upper()])
        edge = any(c.min() == 0 or c.max() == n - 1 for c, n in zip(where, labels.shape, strict=True))
        assert table["touches_edge"][row] == edge
        for channel, name in zip(image, ["DAPI", "actin"], strict=True):
            values = channel[where]
            assert table[f"mean_{name}"][row] == pytest.approx(values.mean(dtype=float), abs=1e-3)
            assert (table[f"min_{name}"][row], table[f"max_{name}"][row]) == (values.min(), values.max())
    assert set(table["state"]) <= {"predicted"}


def test_shape_of_a_disc_and_of_a_bar() -> None:
    y, x = np.mgrid[:60, :60]
    labels = ((y - 20) ** 2 + (x - 20) ** 2 <= 10**2).astype(np.int32)
    labels[50:52, 5:45] = 2
    table = measure(labels, "YX")
    assert table["equivalent_diameter_px"][0] == pytest.approx(20, rel=0.03)
    assert table["eccentricity"] == pytest.approx([0, 1], abs=0.01)
    assert table["solidity"] == pytest.approx([0.93, 1], abs=0.01)
    assert "area_um2" not in table
    assert "mean_channel0" not in table


def test_one_row_for_each_plane_unless_objects_go_through() -> None:
    planes = np.zeros((2, 3, 9, 9), np.int32)
    for number, (t, z) in enumerate(np.ndindex(2, 3), start=1):
        planes[t, z, 2:5, 2:5] = number
    table = measure(planes, "TZYX")
    assert list(zip(table["t"], table["z"], table["id"], strict=True)) == [
        (t, z, 1 + 3 * t + z) for t in range(2) for z in range(3)
    ]
    linked = np.zeros_like(planes)
    linked[:, :, 2:5, 2:5] = 4
    table = measure(linked, "TZYX")
    assert (table["t"].tolist(), table["id"].tolist(), table["volume_px"].tolist()) == ([0, 1], [4, 4], [27, 27])
    assert "z" not in table
    assert measure(linked[:, 0], "TYX")["area_px"].tolist() == [9, 9], "a track is one object in each frame"


def test_what_is_known_of_an_object_and_what_is_left_out() -> None:
    labels = np.repeat(np.arange(6), 10).reshape(6, 10)
    status = np.zeros((6, 10), np.uint8)
    status[1, :6], status[2, :4], status[3, :6], status[5] = 1, 1, 2, 1
    table = measure(labels, "YX", status=status, corrected={5, 99})
    assert dict(zip(table["id"].tolist(), table["state"].tolist(), strict=True)) == {
        1: "checked", 2: "predicted", 4: "predicted", 5: "corrected",
    }  # fmt: skip


def test_classes_have_area_share_and_components() -> None:
    labels = np.zeros((2, 10, 10), np.int32)
    labels[0, :2, :5], labels[0, 5:7, :5], labels[1, :5] = 1, 1, 2
    status = np.zeros_like(labels, np.uint8)
    status[1, 5:] = 2
    table = measure(
        labels, "ZYX", task="semantic", classes=["cell", "debris"], pixel_size_um={"Y": 0.5, "X": 0.5}, status=status
    )
    rows = list(
        zip(*(table[name].tolist() for name in ("z", "name", "area_px", "fraction", "components")), strict=True)
    )
    assert rows == [(0, "cell", 20, 0.2, 2), (0, "debris", 0, 0, 0), (1, "cell", 0, 0, 0), (1, "debris", 50, 1, 1)]
    assert table["area_um2"].tolist() == [5, 0, 0, 12.5]
    whole = measure(labels, "ZYX", task="semantic", classes=["cell", "debris"], spatial_dims=3)
    assert whole["volume_px"].tolist() == [20, 50]
    assert whole["components"].tolist() == [2, 1]


@pytest.mark.parametrize("axes", ["YX", "TYX", "TZYX"])
def test_nothing_found_is_an_empty_table(axes: str) -> None:
    labels = np.zeros((2, 3, 8, 8)[-len(axes) :], np.int32)
    table = measure(labels, axes, labels, axes, pixel_size_um={"Y": 1, "X": 1})
    assert {len(column) for column in table.values()} == {0}
    assert {"id", "area_um2", "mean_channel0", "state"} <= set(table)


def test_images_that_are_not_in_memory(rng: np.random.Generator) -> None:
    labels, _ = ndi.label(rng.random((3, 2, 30, 40)) > 0.7)
    image = rng.integers(0, 2**16, (40, 30, 2, 3, 2), np.uint16)  # X Y C T Z
    expected = measure(labels, "TZYX", image, "XYCTZ", spatial_dims=3)
    lazy = zarr.create_array({}, data=labels, chunks=(1, 1, 16, 16))
    found = measure(lazy, "TZYX", da.from_array(image.astype(">u2"), chunks=16), "XYCTZ", spatial_dims=3)
    assert list(found) == list(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)


def test_tables_of_images_with_other_columns_are_one_csv(tmp_path: Path) -> None:
    labels = np.zeros((8, 8), np.int32)
    labels[2:4, 2:5] = 3
    one = measure(labels, "YX", labels / 3, "YX", file="a, b.tif")
    two = measure(labels, "YX", pixel_size_um={"Y": 0.1, "X": 0.1}, file="µ.tif")
    path = write_measurements(tmp_path / "new" / "t.csv", [one, {}, two])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["id"], row["area_px"]) for row in rows] == [("a, b.tif", "3", "6"), ("µ.tif", "3", "6")]
    assert [(row["mean_channel0"], row["area_um2"]) for row in rows] == [("1", ""), ("", "0.06")]
    assert [row["touches_edge"] for row in rows] == ["False", "False"]


def test_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    class Breaks(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            raise MemoryError

    labels = np.ones((4, 4), np.int32)
    path = write_measurements(tmp_path / "t.csv", [measure(labels, "YX")])
    before = path.read_bytes()
    with pytest.raises(MemoryError):
        write_measurements(path, [measure(labels, "YX"), Breaks(measure(labels, "YX"))])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="measurements cannot be written"):
        write_measurements(tmp_path / "file" / "t.csv", [])
