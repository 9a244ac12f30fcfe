"""What the panel asks for while a slider moves, and before it runs anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

from napari_unet import DecoderSpec, Model, PredictConfig, predict
from napari_unet.errors import ImageError
from napari_unet.models import ClassSpec
from napari_unet.prediction import Divided, check_view, decode, estimate, outline, relabel, shrink, unused_card
from napari_unet.prediction.remember import recall

Make = Callable[..., Model]
CPU = PredictConfig(device="cpu", precision="float32", min_size=0)


@settings(max_examples=30)
@given(shape=st.lists(st.integers(1, 12), min_size=2, max_size=3), seed=st.integers(0, 99))
def test_outline_is_the_foreground_that_touches_background(shape: list[int], seed: int) -> None:
    foreground = np.random.default_rng(seed).random(shape)
    inside = foreground > 0.4
    near_background = ndi.binary_dilation(~inside)
    np.testing.assert_array_equal(outline(foreground, 0.4), inside & near_background)


def test_map_is_shrunk_to_the_canvas_by_the_mean() -> None:
    small, step = shrink(np.arange(35.0).reshape(5, 7), 4)
    assert step == 2
    np.testing.assert_array_equal(small, [[4, 6, 8], [18, 20, 22]])
    same, step = shrink(np.ones((5, 7)), 7)
    assert (same.shape, step) == ((5, 7), 1)
    assert shrink(np.ones((1, 3000)), 1280)[0].shape == (1, 3000)


def test_outline_of_a_large_plane_follows_the_slider() -> None:
    foreground = np.random.default_rng(0).random((2048, 2048), np.float32)
    small, _ = shrink(foreground, 1280)
    seconds = []
    for threshold in np.linspace(0.3, 0.7, 7):
        start = time.process_time()
        outline(small, threshold)
        seconds.append(time.process_time() - start)
    assert sorted(seconds)[3] < 0.1


@pytest.mark.parametrize(("axes", "dims"), [("YX", 2), ("ZYX", 2), ("TZYX", 2), ("XYZ", 3), ("TZYX", 3)])
def test_labels_made_again_from_the_maps_are_those_of_a_new_prediction(axes: str, dims: int, tiny_model: Make) -> None:
    model = tiny_model(network={"spatial_dims": dims})
    sizes = {"T": 2, "Z": 3, "Y": 21, "X": 26}
    image = ndi.gaussian_filter(np.random.default_rng(0).random([sizes[letter] for letter in axes]), 0.7)
    maps = np.asarray(predict(image, model, axes=axes, config=CPU, return_maps=True).maps)
    high = float(np.quantile(np.take(maps, 0, axis=int("T" in axes)), 0.75))
    for changes in (
        {},
        {"min_prominence": 0.4},
        {"min_size": 4, "link_t": True, "link_z": False},
        {"fill_holes": False},
    ):
        config = CPU.model_copy(update={"foreground_threshold": high, **changes})
        expected = predict(image, model, axes=axes, config=config).labels
        assert expected.max() > 1
        np.testing.assert_array_equal(relabel(maps, model.spec, config, axes=axes), expected)


def test_classes_made_again_from_the_maps(tiny_model: Make) -> None:
    model = tiny_model(task="semantic", classes=(ClassSpec(name="a"), ClassSpec(name="b")))
    result = predict(np.random.default_rng(0).random((3, 21, 26)), model, axes="ZYX", config=CPU, return_maps=True)
    np.testing.assert_array_equal(relabel(np.asarray(result.maps), model.spec, CPU, axes="ZYX"), result.labels)


def test_large_view_asks_to_zoom_in() -> None:
    check_view((5000, 10000))
    with pytest.raises(ImageError, match=r"100 megapixels.*Zoom in"):
        check_view((10000, 10000))


def test_estimate_grows_with_the_image_and_learns_from_runs(tiny_model: Make) -> None:
    model = tiny_model()
    one = estimate((200, 300), model, CPU, axes="YX")
    assert not one.is_measured, "from a tile that was timed"
    many = estimate((60, 200, 300), model, CPU, axes="ZYX")
    assert many.seconds == pytest.approx(60 * one.seconds)
    assert many.bytes_on_disk > 50 * 4 * 200 * 300
    part = estimate((60, 200, 300), model, CPU, axes="ZYX", region={"Z": slice(10, 20)})
    assert part.seconds == pytest.approx(10 * one.seconds)
    averaged = estimate((200, 300), model, CPU.model_copy(update={"average": True}), axes="YX")
    assert averaged.seconds == pytest.approx(8 * one.seconds)

    start = time.perf_counter()
    predict(np.zeros((200, 300)), model, config=CPU)
    took = time.perf_counter() - start
    learned = estimate((200, 300), model, CPU, axes="YX")
    assert learned.is_measured
    assert 0 < learned.seconds <= took
    with pytest.raises(ImageError, match="empty along Z"):
        estimate((60, 200, 300), model, CPU, axes="ZYX", region={"Z": slice(60, 70)})


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "~1 s"), (42.4, "~42 s"), (240, "~4 min"), (10**5, "~28 h")])
def test_estimate_is_worded_for_a_button(seconds: float, text: str) -> None:
    from napari_unet.prediction import Estimate

    assert str(Estimate(seconds, 0, True)) == text
    assert Estimate(seconds, 0, True).is_quick == (seconds < 10)


def test_averaging_is_recorded_and_changes_the_maps(tiny_model: Make) -> None:
    image = np.random.default_rng(0).random((3, 24, 32))
    for dims in (2, 3):
        model = tiny_model(network={"spatial_dims": dims, "features": (3, 4)})
        plain, averaged = (
            predict(image, model, axes="ZYX", config=CPU.model_copy(update={"average": on}), return_maps=True)
            for on in (False, True)
        )
        assert (plain.provenance["averaged"], averaged.provenance["averaged"]) == (1, 8)
        turned = predict(
            image[:, ::-1], model, axes="ZYX", config=CPU.model_copy(update={"average": True}), return_maps=True
        )
        assert averaged.maps is not None
        assert np.abs(averaged.maps - np.asarray(plain.maps)).max() > 0.01
        flipped = np.flip(np.asarray(turned.maps), -2)
        np.testing.assert_allclose(flipped, averaged.maps, atol=2e-5)


def test_card_that_torch_cannot_use_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def torch(build: str | None, available: bool) -> Any:
        cuda = SimpleNamespace(is_available=lambda: available)
        return SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda=build), __version__="2.13.0+cpu")

    monkeypatch.setattr("shutil.which", lambda _: None)
    assert unused_card(torch(None, False)) is None
    monkeypatch.setattr("shutil.which", lambda _: "nvidia-smi")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(stdout="RTX 4090, 570.1\n", returncode=0))
    problem = unused_card(torch(None, False))
    assert problem is not None
    assert "RTX 4090 (driver 570.1)" in problem.found
    assert "pip install" in problem.advice
    old = unused_card(torch("13.0", False))
    assert old is not None
    assert "driver" in old.advice
    assert unused_card(torch("13.0", True)) is None


def test_what_is_remembered_is_forgotten_after_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_unet.prediction import remember as module

    module.remember("cpu", most_voxels=7)
    module.remember("cpu", work_per_second=2.0)
    assert recall("cpu")["most_voxels"] == 7
    assert recall("cpu")["work_per_second"] == 2.0
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 8 * 86400)
    assert recall("cpu") == {}


@given(seed=st.integers(0, 99), prominence=st.floats(0.05, 0.95), peak=st.floats(0, 0.8))
def test_outlines_that_follow_a_slider_are_those_of_the_objects(seed: int, prominence: float, peak: float) -> None:
    rng = np.random.default_rng(seed)
    cloudy = [ndi.gaussian_filter(rng.random((40, 60)), 3) for _ in range(2)]
    foreground, inward = ((one - one.min()) / np.ptp(one) for one in cloudy)
    maps = np.stack([foreground, inward, inward]).astype(np.float16).astype(np.float32)
    if ndi.label(maps[0] > 0.4)[1] > 1:
        maps[0] = 0.9  # components that lie side by side are smoothed together on the canvas
    decoder = DecoderSpec(foreground_threshold=0.4, min_prominence=prominence, peak_threshold=peak, min_size=0)
    divided = Divided(maps[0], maps[1], 0.4)
    for fill in (True, False):
        labels = decode(maps, decoder.model_copy(update={"fill_holes": fill}))
        expected = find_boundaries(labels, connectivity=1, mode="inner")
        shown = divided.outlines(prominence, peak, filled=fill)
        np.testing.assert_array_equal(shown, expected)
