import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import tifffile

import napari_unet
from napari_unet.events import FileFailed

HEAVY = ("torch", "napari", "qtpy", "PyQt6", "scipy", "skimage", "pydantic")


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after running `code`."""
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import napari_unet", set()),
        ("import napari_unet.cli", set()),
        ("import napari_unet.gui.contributions", set()),
        ("import napari_unet.gui.doctor", set()),
        ("from napari_unet import open_image, read_corrections, read_rois, write_labels", {"scipy"}),
        ("from napari_unet import load_model, predict, train", {"torch", "scipy", "skimage", "pydantic"}),
    ],
)
def test_import_loads_nothing_heavy(code, allowed):
    assert modules_after(code) & set(HEAVY) <= allowed


def test_every_public_name_resolves():
    assert napari_unet.__all__ == sorted(napari_unet.__all__)
    for name in napari_unet.__all__:
        assert getattr(napari_unet, name).__name__ == name
    assert set(dir(napari_unet)) == {*napari_unet.__all__, "__version__"}


def test_notebook_needs_no_names_but_the_public_ones(tmp_path, discs, disc_training):
    nu = napari_unet
    image, truth = discs((64, 64), 5, count=8)
    tifffile.imwrite(tmp_path / "a.tif", image)
    for event in nu.iter_segment_files(
        [tmp_path / "a.tif"],
        disc_training.model,
        config=nu.PredictConfig(device="cpu"),
        batch=nu.BatchConfig(rois=True),
    ):
        assert not isinstance(event, FileFailed)
    opened = nu.open_image(tmp_path / "a-labels.ome.tif")
    outlines = nu.read_rois(tmp_path / "a-rois.zip")
    assert (nu.rois_to_labels(outlines, opened.shape, opened.axes) == opened.data).all()
    assert nu.average_precision(truth, opened.data) > 0.6
    table = nu.measure(opened.data, opened.axes, image)
    nu.write_measurements(tmp_path / "a.csv", [table])
    assert len((tmp_path / "a.csv").read_text().splitlines()) == len(table["id"]) + 1
    assert nu.read_corrections(image, "YX", tmp_path / "a.tif") is None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'no_such_name'"):
        _ = napari_unet.no_such_name


def test_version_is_the_same_everywhere():
    pyproject = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    declared = re.search(r'^version = "(.+)"$', pyproject, re.MULTILINE)
    assert napari_unet.__version__ == metadata.version("napari-unet") == declared[1]
