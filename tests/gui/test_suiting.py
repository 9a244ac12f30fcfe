"""The model that suits an image is taken up by itself, as long as the user has chosen none."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from napari_unet import Model, save_model
from napari_unet.prediction import StoppedError

SECONDS = 30
STRANGE = "No model that comes along is sure of such images."


def faint(image: np.ndarray) -> np.ndarray:
    """Return an image in which a few pixels are much brighter than its objects."""
    glaring = image.copy()
    glaring[:2, :6] = 2000
    return glaring


@pytest.fixture
def two_models(library, make_model):
    """Put models into the library that tell how sure they usually are: `nuclei` of what is bright, `dim` of less."""

    def save(name: str, bias: float) -> None:
        model = make_model(name)
        with torch.no_grad():
            model.network.head.bias.fill_(bias)
        known = {"object_diameter_px": 12.0, "usual_sureness": 0.95}
        save_model(Model(model.network, model.spec.model_copy(update=known)), library / name)

    for name in ("nuclei-stained", "cells-phase"):
        save(name, -40)
    save("nuclei", -10)
    return save


def test_the_model_that_knows_the_image_is_taken_at_the_first_segmentation(start, discs, two_models):
    two_models("dim", -4)
    user = start(discs(), name="bright")
    user.segment()
    assert user.session.model == "nuclei"
    assert user.says.startswith("5 objects. Correct what is wrong")
    user.viewer.add_image(faint(discs()), name="faint")
    user.choose("image", "faint")
    assert user.session.model == "nuclei"
    user.segment()
    assert user.session.model == user.combo("model").currentText() == "dim"
    assert user.says.startswith("5 objects. 'dim' knows such images better than 'nuclei': it is chosen. Correct")
    assert user.labels.max() == 5
    # each image keeps its own, and is looked at once
    user.choose("image", "bright")
    assert user.session.model == "nuclei"
    assert user.labels.max() == 5
    user.choose("image", "faint")
    assert user.session.model == "dim"
    user.segment()
    assert user.says.startswith("5 objects. Correct")
    # until the user chooses
    user.choose("model", "nuclei")
    user.choose("image", "bright")
    user.choose("model", "dim")
    user.choose("image", "faint")
    assert user.session.model == "dim"


def test_it_is_told_where_no_model_knows_the_image(start, discs, two_models):
    user = start(faint(discs()))
    user.segment()
    assert user.session.model == "nuclei"
    assert STRANGE in user.says
    assert user.session.problem
    user.choose("model", "cells-phase")
    user.choose("model", "nuclei")
    user.segment()
    assert STRANGE not in user.says, "the user wants this model"


def test_a_look_can_be_cancelled(start, discs, two_models, monkeypatch):
    def look_for_long(*_, stop, **__):
        yield from ()
        assert stop.wait(SECONDS)
        raise StoppedError

    two_models("dim", -4)
    user = start(faint(discs()))
    with monkeypatch.context() as patch:
        patch.setattr("napari_unet.gui.suiting.iter_find_model", look_for_long)
        user.press("segment")
        assert "Looking which model suits" in user.says
        user.press("cancel")
        user.until(lambda: user.idle)
    assert user.says == "Cancelled. Nothing was changed."
    assert user.panel.workbench.document is None
    assert user.session.model == "nuclei"
    user.segment()
    assert user.session.model == "dim"


def test_the_brush_is_as_wide_as_suits_the_objects(start, discs, two_models):
    user = start(np.tile(discs(), (32, 32)), zoom=False)
    user.press("tool_draw")
    brush = user.document.editable
    assert brush.brush_size == 3, "a quarter of 12 px"
    user.session.object_size = 60.0
    user.press("tool_background")
    assert brush.brush_size == 15
    brush.brush_size = 7
    user.press("tool_draw")
    assert brush.brush_size == 7, "the user has set it"


def test_a_folder_keeps_the_model_that_was_found(start, discs, two_models, tmp_path):
    two_models("dim", -4)
    for number, image in enumerate((faint(discs()), discs())):
        tifffile.imwrite(tmp_path / f"img_{number}.tif", image)
    user = start()
    user.panel.workbench.projects.open_folder(tmp_path)
    user.until(lambda: user.idle and user.session.segmented)
    assert user.session.model == "dim"
    user.press("next_image")
    user.until(lambda: user.idle and user.session.segmented)
    assert user.session.model == "dim"
