"""A prediction in memory that was stopped: what is finished can be had, and the next one goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet import Model, PredictConfig, iter_predict, predict
from napari_unet.errors import PredictionError
from napari_unet.prediction import InMemory, finished_part

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Make = Callable[..., Model]
CONFIG = PredictConfig(device="cpu", precision="float32", tile=(32, 32), batch=1, min_size=0)
MOVIE = ndi.gaussian_filter(np.random.default_rng(0).random((2, 3, 40, 50), np.float32), (0, 0, 1, 1))


@pytest.fixture
def tiny_model(tiny_model: Make) -> Make:
    """Models that see 8 pixels far, so that small tiles do."""
    return lambda **changes: tiny_model(**{"network": {"features": (4, 6)}, **changes})


def stopped_after(batches: int, image: NDArray[Any], model: Model, axes: str, out: Any, **others: Any) -> None:
    """Predict, and stop it after so many batches, with the flag that a window sets."""
    stop = threading.Event()
    steps = iter_predict(image, model, axes=axes, out=out, stop=stop, **{"config": CONFIG, **others})
    for _ in range(batches):
        next(steps)
    stop.set()
    with pytest.raises(PredictionError, match="Stopped"):
        next(steps)


@pytest.mark.parametrize(("batches", "link_t", "scaled"), [(1, False, True), (10, False, False), (10, True, True)])
def test_goes_on_to_the_same_labels_and_maps(batches: int, link_t: bool, scaled: bool, tiny_model: Make) -> None:
    model = tiny_model(object_diameter_px=20.0)
    config = CONFIG.model_copy(update={"link_t": link_t, "object_diameter_px": 18.0 if scaled else 20.0})
    common = {"axes": "TZYX", "config": config, "return_maps": True}
    expected = predict(MOVIE, model, **common)
    assert expected.labels.max() > 20
    memory = InMemory()
    stopped_after(batches, MOVIE, model, out=memory, **common)
    events = iter_predict(MOVIE, model, out=memory, **common)
    first = next(events)
    assert first.done == first.total - sum(1 for _ in events)
    if not link_t:
        assert first.done == batches + 1, "at the next tile"
    stopped_after(batches, MOVIE, model, out=memory, **common)
    result = predict(MOVIE, model, out=memory, **common)
    np.testing.assert_array_equal(result.labels, expected.labels)
    np.testing.assert_array_equal(result.maps, expected.maps)
    assert memory.labels is memory.maps is memory.store is None, "nothing is held any more"


def test_blended_volumes_go_on_too(tiny_model: Make) -> None:
    model = tiny_model(network={"spatial_dims": 3})
    config = PredictConfig(device="cpu", precision="float32", tile=(24, 24, 24), halo="blended", batch=1, min_size=0)
    volume = np.random.default_rng(1).random((20, 40, 44), np.float32)
    expected = predict(volume, model, axes="ZYX", config=config)
    assert expected.provenance["halo"] == "blended"
    memory = InMemory()
    stopped_after(3, volume, model, "ZYX", memory, config=config)
    np.testing.assert_array_equal(predict(volume, model, axes="ZYX", config=config, out=memory).labels, expected.labels)


def test_begins_anew_where_something_else_is_wanted(tiny_model: Make) -> None:
    model, memory = tiny_model(), InMemory()
    stopped_after(9, MOVIE, model, "TZYX", memory)
    other = CONFIG.model_copy(update={"foreground_threshold": 0.6, "fill_holes": False})
    expected = predict(MOVIE, model, axes="TZYX", config=other).labels
    assert expected.max() > 20
    events = list(iter_predict(MOVIE, model, axes="TZYX", config=other, out=memory))
    assert events[0].done == 1
    stopped_after(9, MOVIE, model, "TZYX", memory)
    result = predict(MOVIE, model, axes="TZYX", config=other, out=memory)
    np.testing.assert_array_equal(result.labels, expected)
    # of those that were not asked for, no maps are there
    stopped_after(9, MOVIE, model, "TZYX", memory)
    result = predict(MOVIE, model, axes="TZYX", config=CONFIG, out=memory, return_maps=True)
    np.testing.assert_array_equal(result.maps, predict(MOVIE, model, axes="TZYX", config=CONFIG, return_maps=True).maps)


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize(("axes", "order"), [("TZYX", (0, 1, 2, 3)), ("ZYXT", (1, 2, 3, 0))])
def test_finished_part_is_that_of_the_whole(
    where: str, axes: str, order: tuple[int, ...], tiny_model: Make, tmp_path: Path
) -> None:
    model, image = tiny_model(), MOVIE.transpose(order)
    expected = predict(image, model, axes=axes, config=CONFIG).labels
    assert expected.max() > 20
    per_plane = next(iter_predict(image, model, axes=axes, config=CONFIG)).total // 6
    ends = {0: None, 1: (1, 1), 2: (1, 2), 3: (1, 3), 5: (1, 3)}
    for frames, end in ends.items():
        out: Any = InMemory() if where == "memory" else tmp_path / f"{frames}.zarr"
        assert finished_part(out, axes, 2) is None
        stopped_after(frames * per_plane + 1, image, model, axes, out)
        part = finished_part(out, axes, 2)
        assert (part is None) == (end is None)
        if part is not None:
            place, labels = part
            assert (place["T"], place["Z"]) == (slice(0, end[0]), slice(0, end[1]))
            whole = expected[tuple(place.get(letter, slice(None)) for letter in axes)]
            np.testing.assert_array_equal(labels, whole)
