"""Image and model to labels: any axes, any type, any part of the image."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage as ndi

from napari_unet import Model, ModelSpec, PredictConfig, Prediction, Trained, iter_predict, predict
from napari_unet.errors import ConfigError, ImageError, PredictionError
from napari_unet.events import TileDone
from napari_unet.images import Normalization, Rescaled, measure_normalization, resample_plane
from napari_unet.models import ClassSpec, inverted, model_hash
from napari_unet.prediction import activate

if TYPE_CHECKING:
    from numpy.typing import NDArray

da: Any = dask.array
Make = Callable[..., Model]
CPU = PredictConfig(device="cpu", precision="float32", min_size=0)


@pytest.fixture
def model(tiny_model: Make) -> Model:
    return tiny_model()


@pytest.fixture
def stack(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a TCZYX image with one channel."""
    noise = rng.random((2, 1, 3, 21, 26))
    return np.asarray(ndi.gaussian_filter(noise, (0, 0, 0, 1.5, 1.5)))


def drain(steps: Any) -> tuple[list[Any], Prediction]:
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as done:
            return events, done.value


def same_partition(a: NDArray[Any], b: NDArray[Any]) -> bool:
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    one_to_one = len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    return one_to_one and np.array_equal(a > 0, b > 0)


# axes


@pytest.mark.parametrize("axes", ["TCZYX", "TZYX", "ZTYX", "XYZT", "YXTZ", "CZTXY", "YTXCZ", "TZYXS", "SYXTZ"])
def test_axes_in_any_order_give_the_same_labels(axes: str, stack: NDArray[Any], model: Model) -> None:
    expected = predict(stack, model, axes="TCZYX", config=CPU).labels  # TZYX
    named = stack if {"C", "S"} & set(axes) else stack[:, 0]
    letters = [{"S": "C"}.get(letter, letter) for letter in axes]
    own = "TCZYX" if named.ndim == 5 else "TZYX"
    image = named.transpose([own.index(letter) for letter in letters])
    labels = predict(image, model, axes=axes.lower(), config=CPU).labels
    without = [letter for letter in letters if letter != "C"]
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, expected.transpose(["TZYX".index(letter) for letter in without]))
    assert labels.max() > 0


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("YX", (3, 21, 26)), ("ZYX", (3, 3, 21, 26)), ("TYX", (3, 3, 21, 26)), ("TZYX", (2, 3, 3, 21, 26))],
)
def test_maps_have_channels_after_t(axes: str, shape: tuple[int, ...], stack: NDArray[Any], model: Model) -> None:
    image = {"YX": stack[0, 0, 0], "ZYX": stack[0, 0], "TYX": stack[0, 0], "TZYX": stack[:, 0]}[axes]
    result = predict(image, model, axes=axes, config=CPU, return_maps=True)
    expected = shape if axes != "ZYX" else (3, 3, 21, 26)
    assert result.maps is not None
    assert result.maps.shape == expected
    assert result.maps.dtype == np.float32
    assert 0 <= result.maps.min() <= result.maps.max() <= 1
    assert result.labels.shape == image.shape


def test_maps_are_left_out_unless_asked_for(stack: NDArray[Any], model: Model) -> None:
    assert predict(stack[0, 0, 0], model, config=CPU).maps is None


def test_volume_model_sees_all_slices_and_each_frame_by_itself(stack: NDArray[Any], tiny_model: Make) -> None:
    model = tiny_model(network={"spatial_dims": 3, "features": (3, 4)})
    both = predict(stack[:, 0], model, axes="TZYX", config=CPU, return_maps=True)
    second = predict(stack[1, 0], model, axes="ZYX", config=CPU, return_maps=True,
                     normalization=measure_normalization(stack))  # fmt: skip
    assert both.maps is not None
    assert second.maps is not None
    assert second.maps.shape == (3, 3, 21, 26)
    np.testing.assert_array_equal(both.maps[1], second.maps)
    changed = stack[1, 0].copy()
    changed[2] += 1
    moved = predict(changed, model, axes="ZYX", config=CPU, return_maps=True,
                    normalization=measure_normalization(stack))  # fmt: skip
    assert moved.maps is not None
    assert (moved.maps[:, 0] != second.maps[:, 0]).any(), "slice 0 depends on slice 2"


def test_model_of_volumes_takes_a_plane(stack: NDArray[Any], tiny_model: Make) -> None:
    model = tiny_model(network={"spatial_dims": 3, "features": (3, 4)})
    assert predict(stack[0, 0, 0], model, config=CPU).labels.shape == (21, 26)


def test_bare_stack_asks_for_its_axes(model: Model) -> None:
    with pytest.raises(ImageError, match="'ZYX', 'TYX' or 'CYX'"):
        predict(np.zeros((3, 8, 8)), model, config=CPU)


@pytest.mark.parametrize("kind", ["numpy", "large", "dask", "zarr"])
@pytest.mark.parametrize("colours", [3, 4])
def test_a_model_of_one_channel_sees_the_brightness_of_colours(
    model: Model, rng: np.random.Generator, kind: str, colours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.images.colours._IN_MEMORY", 0 if kind == "large" else 2**24)
    picture = rng.integers(0, 255, (2, 40, 50, colours), np.uint8)
    stored: Any = {
        "numpy": lambda: picture,
        "large": lambda: picture,
        "dask": lambda: da.from_array(picture, chunks=(1, 16, 50, 2)),
        "zarr": lambda: zarr.create_array({}, data=picture, chunks=(1, 16, 16, colours)),
    }[kind]()
    grey = predict(picture[..., :3].mean(-1, dtype=np.float32), model, axes="ZYX", config=CPU, return_maps=True)
    found = predict(stored, model, axes="ZYXS", config=CPU, return_maps=True)
    np.testing.assert_array_equal(found.labels, grey.labels)
    np.testing.assert_allclose(found.maps, grey.maps, atol=1e-6)
    red = predict(stored, model, axes="ZYXS", config=CPU.model_copy(update={"channels": (0,)}), return_maps=True)
    alone = predict(picture[..., 0], model, axes="ZYX", config=CPU, return_maps=True)
    np.testing.assert_array_equal(red.maps, alone.maps)


def test_a_model_of_three_channels_takes_no_transparency(tiny_model: Make, rng: np.random.Generator) -> None:
    picture = rng.integers(0, 255, (24, 30, 4), np.uint8)
    model = tiny_model(channels=("red", "green", "blue"))
    both = (picture, picture[..., :3])
    found, without = (predict(one, model, axes="YXS", config=CPU, return_maps=True).maps for one in both)
    np.testing.assert_array_equal(found, without)


def test_channels_that_do_not_fit_say_what_to_do(model: Model, tiny_model: Make) -> None:
    with pytest.raises(ImageError, match=r"has 3 channels but the model 'tiny' takes 1 \(image\)\. Choose"):
        predict(np.zeros((3, 8, 8), np.uint8), model, axes="CYX", config=CPU)
    with pytest.raises(ImageError, match=r"has 3 channels but the model 'tiny' takes 2"):
        predict(np.zeros((8, 8, 3), np.uint8), tiny_model(channels=("a", "b")), axes="YXS", config=CPU)


def test_an_inverted_model_sees_dark_objects_bright(model: Model, rng: np.random.Generator) -> None:
    image = rng.integers(0, 255, (30, 40)).astype(np.float32)
    dark = inverted(model)
    found = predict(image, dark, axes="YX", config=CPU, return_maps=True)
    usual = measure_normalization(image[None, None, None])
    (low,), (high,) = usual.low, usual.high
    turned = Normalization((-high,), (-low,))
    expected = predict(-image, model, axes="YX", config=CPU, return_maps=True, normalization=turned)
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5)
    assert found.provenance["normalization"] == {"low": [high], "high": [low]}
    assert inverted(dark).spec == model.spec
    assert model_hash(dark) != model_hash(model)


def test_channels_are_chosen_and_ordered(tiny_model: Make, rng: np.random.Generator) -> None:
    model = tiny_model(channels=("a", "b"))
    image = rng.random((3, 16, 16))
    chosen = predict(image, model, axes="CYX", config=CPU.model_copy(update={"channels": (2, 0)}), return_maps=True)
    by_hand = predict(image[[2, 0]], model, axes="CYX", config=CPU, return_maps=True)
    np.testing.assert_array_equal(np.asarray(chosen.maps), np.asarray(by_hand.maps))
    with pytest.raises(ImageError, match="numbered from 0"):
        predict(image, model, axes="CYX", config=PredictConfig(device="cpu", channels=(0, 3)))


# types and values

TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8"]


@pytest.mark.parametrize("dtype", TYPES)
def test_type_of_the_numbers_does_not_matter(dtype: str, model: Model, stack: NDArray[Any]) -> None:
    image = np.rint(100 * stack[0, 0, 0])
    expected = predict(image, model, config=CPU, return_maps=True)
    result = predict(image.astype(dtype), model, config=CPU, return_maps=True)
    np.testing.assert_array_equal(np.asarray(result.maps), np.asarray(expected.maps))


def test_bool_image_is_one_of_two_values(model: Model, stack: NDArray[Any]) -> None:
    image = stack[0, 0, 0] > np.median(stack)
    expected = predict(image.astype(np.uint8), model, config=CPU, return_maps=True)
    result = predict(image, model, config=CPU, return_maps=True)
    np.testing.assert_array_equal(np.asarray(result.maps), np.asarray(expected.maps))


@pytest.mark.parametrize("dtype", [complex, "M8[s]", object, "U3"])
def test_type_without_intensities_is_refused(dtype: Any, model: Model) -> None:
    with pytest.raises(ImageError, match="Convert the image"):
        predict(np.zeros((8, 8)).astype(int).astype(dtype), model, config=CPU)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (20, 23)])
def test_constant_image_predicts_without_a_warning(value: float, shape: tuple[int, int], model: Model) -> None:
    result = predict(np.full(shape, value, np.float32), model, config=CPU, return_maps=True)
    assert result.labels.shape == shape
    assert result.maps is not None
    assert np.isfinite(result.maps).all()
    assert np.ptp(result.maps, axis=(1, 2)).max() < 1e-5, "the same everywhere: nothing but the mirror is outside"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_damaged_pixels_count_as_dark_and_spoil_nothing(dtype: Any, model: Model, stack: NDArray[Any]) -> None:
    image = stack[0, 0, 0].astype(dtype)
    image[3, 4], image[5, 5], image[9, 20] = np.nan, np.inf, -np.inf
    if dtype != np.float16:
        image[0, 0] = np.finfo(dtype).max
    result = predict(image, model, config=CPU, return_maps=True)
    assert result.maps is not None
    assert np.isfinite(result.maps).all()


def as_list(image: NDArray[Any]) -> Any:
    return image.tolist()


def as_tensor(image: NDArray[Any]) -> Any:
    return torch.from_numpy(image)


class Named:
    """An array whose axes have names, as those of xarray: `transpose` takes nothing else."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def transpose(self, *names: str) -> None:
        raise TypeError(f"axes are called z, y, x, not {names}")

    def reshape(self) -> None:
        raise AssertionError("not asked for")

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return self.array[key]


@pytest.mark.parametrize("kind", [as_list, as_tensor, Named, np.ma.asarray])
def test_whatever_holds_the_pixels_gives_the_same(kind: Callable[..., Any], stack: NDArray[Any], model: Model) -> None:
    image = stack[0, 0]
    expected = predict(image, model, axes="ZYX", config=CPU).labels
    labels = predict(kind(image), model, axes="ZYX", config=CPU).labels
    assert type(labels) is np.ndarray
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 9), (5, 1, 1), (3, 17, 2)])
def test_volumes_however_thin(shape: tuple[int, ...], average: bool, tiny_model: Make) -> None:
    model = tiny_model(channels=("a", "b"), network={"spatial_dims": 3, "features": (3, 4)})
    image = np.random.default_rng(0).integers(0, 4000, (2, *shape)).astype(">u2")
    result = predict(image, model, axes="CZYX", config=CPU.model_copy(update={"average": average}), return_maps=True)
    assert result.labels.shape == shape
    assert result.maps is not None
    assert np.isfinite(result.maps).all()
    assert result.provenance["averaged"] == (8 if average else 1)


def test_channel_without_a_number_leaves_the_other_one_to_see(tiny_model: Make, rng: np.random.Generator) -> None:
    model, good = tiny_model(channels=("a", "b")), rng.random((24, 24))
    nothing, dark = (np.stack([good, np.full_like(good, value)]) for value in (np.nan, 0))
    maps = [predict(image, model, axes="CYX", config=CPU, return_maps=True).maps for image in (nothing, dark)]
    np.testing.assert_array_equal(np.asarray(maps[0]), np.asarray(maps[1]))
    assert np.ptp(np.asarray(maps[0])) > 0.1


@pytest.mark.parametrize("count", [1, 3])
def test_normalization_of_other_channels_is_refused(count: int, tiny_model: Make, rng: np.random.Generator) -> None:
    image = rng.random((3, 16, 16))
    known = measure_normalization(image[None, :count, None])
    config = CPU.model_copy(update={"channels": (0, 2)})
    with pytest.raises(ImageError, match=f"has {count} channels, the model 'tiny' takes 2"):
        predict(image, tiny_model(channels=("a", "b")), axes="CYX", config=config, normalization=known)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty_image_is_refused(shape: tuple[int, int], model: Model) -> None:
    with pytest.raises(ImageError, match="empty"):
        predict(np.zeros(shape), model, config=CPU)


def test_dask_image_gives_what_numpy_gives(stack: NDArray[Any], model: Model) -> None:
    image = da.from_array(stack[:, 0], chunks=(1, 1, 10, 10))
    expected = predict(stack[:, 0], model, axes="TZYX", config=CPU).labels
    result = predict(image, model, axes="TZYX", config=CPU)
    assert isinstance(result.labels, np.ndarray)
    np.testing.assert_array_equal(result.labels, expected)


def test_large_lazy_image_is_read_only_where_it_is_needed(model: Model) -> None:
    read = []

    def plane(block_info: Any = None) -> NDArray[np.uint8]:
        read.append(block_info[None]["chunk-location"])
        return np.random.default_rng(len(read)).integers(0, 255, (1, 1, 64, 64), np.uint8)

    image = da.map_blocks(plane, chunks=((1,) * 50, (1,) * 50, (64,), (64,)), dtype=np.uint8, meta=np.empty((0,) * 4))
    known = measure_normalization(np.arange(256, dtype=np.uint8).reshape(1, 1, 1, 16, 16))
    read.clear()
    region = {"T": slice(7, 8), "Z": slice(3, 5)}
    labels = predict(image, model, axes="TZYX", config=CPU, region=region, normalization=known).labels
    assert labels.shape == (1, 2, 64, 64)
    assert {tuple(place[:2]) for place in read} == {(7, 3), (7, 4)}


# parts of an image


@settings(max_examples=25)
@given(y=st.tuples(st.integers(0, 50), st.integers(1, 40)), x=st.tuples(st.integers(0, 70), st.integers(1, 40)))
def test_region_gives_what_the_whole_gives(
    y: tuple[int, int], x: tuple[int, int], discs: Any, disc_training: Trained
) -> None:
    image, _ = discs((64, 90), 5, count=40, gap=-2)  # some touch
    region = {"Y": slice(y[0], y[0] + y[1]), "X": slice(x[0], x[0] + x[1])}
    where = (region["Y"], region["X"])
    whole = predict(image, disc_training.model, config=CPU, return_maps=True)
    part = predict(image, disc_training.model, config=CPU, region=region, return_maps=True)
    assert whole.maps is not None
    assert part.maps is not None
    np.testing.assert_allclose(part.maps, whole.maps[(slice(None), *where)], atol=2e-6)
    components = ndi.label(whole.maps[0] > 0.5)[0][where]
    edge = np.ones(components.shape, bool)
    edge[1:-1, 1:-1] = False
    uncut = (components > 0) & ~np.isin(components, components[edge])
    assert same_partition(np.where(uncut, part.labels, 0), np.where(uncut, whole.labels[where], 0))


def test_region_of_slices_and_frames(stack: NDArray[Any], model: Model) -> None:
    whole = predict(stack[:, 0], model, axes="TZYX", config=CPU, return_maps=True)
    region = {"T": slice(1, None), "Z": slice(-2, None), "Y": slice(4, 17)}
    part = predict(stack[:, 0], model, axes="TZYX", config=CPU, region=region, return_maps=True)
    assert part.labels.shape == (1, 2, 13, 26)
    np.testing.assert_allclose(np.asarray(part.maps), np.asarray(whole.maps)[1:, :, 1:, 4:17], atol=2e-6)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ({"Y": slice(30, 40)}, "empty along Y"),
        ({"X": slice(5, 5)}, "empty along X"),
        ({"Q": slice(0, 1)}, "'Q'"),
        ({"C": slice(0, 1)}, "'C'"),
        ({"Y": slice(0, 10, 2)}, "steps of 2"),
    ],
)
def test_region_that_makes_no_sense_is_refused(region: dict[str, slice], words: str, model: Model) -> None:
    with pytest.raises(ImageError, match=words):
        predict(np.zeros((20, 20)), model, config=CPU, region=region)


def test_normalization_of_the_whole_is_used_for_a_cut_out_view(stack: NDArray[Any], model: Model) -> None:
    image = np.tile(stack[0, 0, 0], 3) + np.linspace(0, 1, 78)  # brighter to the right
    known = measure_normalization(image[None, None, None])
    view = image[:, 12:]
    given_whole = predict(view, model, config=CPU, normalization=known, return_maps=True)
    measured = predict(view, model, config=CPU, return_maps=True)
    whole = predict(image, model, config=CPU, return_maps=True)
    inner = (slice(None), slice(None), slice(-20, None))  # farther from the cut than the network sees
    assert np.abs(np.asarray(whole.maps)[inner] - np.asarray(given_whole.maps)[inner]).max() < 1e-5
    assert np.abs(np.asarray(whole.maps)[inner] - np.asarray(measured.maps)[inner]).max() > 1e-2


# ids, progress, stopping


def test_ids_never_repeat_in_other_slices_or_frames(discs: Any, disc_training: Trained) -> None:
    planes = np.stack([discs((48, 48), 5, count=5, seed=n)[0] for n in range(6)]).reshape(2, 3, 48, 48)
    apart = CPU.model_copy(update={"link_z": False})
    labels = predict(planes, disc_training.model, axes="TZYX", config=apart).labels
    per_plane = [set(np.unique(plane[plane > 0])) for plane in labels.reshape(6, 48, 48)]
    assert all(per_plane)
    assert sum(map(len, per_plane)) == len(set.union(*per_plane)) == labels.max()


def test_classes_are_the_same_numbers_in_all_slices(tiny_model: Make, stack: NDArray[Any]) -> None:
    model = tiny_model(task="semantic", classes=(ClassSpec(name="a"), ClassSpec(name="b")))
    result = predict(stack[:, 0], model, axes="TZYX", config=CPU, return_maps=True)
    assert result.labels.max() <= 2
    np.testing.assert_allclose(np.asarray(result.maps).sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(result.labels, np.asarray(result.maps).argmax(1))


def test_progress_counts_every_batch_of_tiles(stack: NDArray[Any], model: Model) -> None:
    config = PredictConfig(device="cpu", tile=(56, 56), batch=2)
    events, result = drain(iter_predict(stack[:, 0], model, axes="TZYX", config=config))
    assert all(isinstance(event, TileDone) for event in events)
    assert [event.done for event in events] == list(range(1, len(events) + 1))
    assert {event.total for event in events} == {len(events)}
    assert len(events) % 6 == 0
    assert len(events) > 6, "more than one batch for each of the six planes"
    assert events[-1].seconds_left == 0
    np.testing.assert_array_equal(result.labels, predict(stack[:, 0], model, axes="TZYX").labels)


def test_stop_ends_it_before_the_next_tile(stack: NDArray[Any], model: Model) -> None:
    stop = threading.Event()
    steps = iter_predict(stack[:, 0], model, axes="TZYX", config=CPU, stop=stop)
    next(steps)
    stop.set()
    with pytest.raises(PredictionError, match="Stopped"):
        next(steps)


def test_model_is_not_changed_by_predicting(stack: NDArray[Any], tiny_model: Make) -> None:
    model = tiny_model()
    model.network.train()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    layers = [type(module) for module in model.network.modules()]
    predict(stack[0, 0, 0], model, config=CPU)
    assert model.network.training
    assert [type(module) for module in model.network.modules()] == layers
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())


def test_image_is_not_changed_by_predicting(stack: NDArray[Any], model: Model) -> None:
    image = stack[0, 0, 0].copy()
    image[0, 0] = np.nan
    before = image.copy()
    predict(image, model, config=CPU)
    np.testing.assert_array_equal(image, before)


def test_result_says_how_it_was_made(stack: NDArray[Any], model: Model) -> None:
    config = PredictConfig(device="cpu", precision="float32", tile=(64, 64), min_prominence=0.3, min_size=4)
    made = predict(stack[0, 0, 0], model, config=config).provenance
    assert made["model"] == "tiny"
    assert made["precision"] == "float32"
    assert made["device"] == "cpu"
    assert made["decoder"]["min_prominence"] == 0.3
    assert made["decoder"]["min_size"] == 4
    assert made["decoder"]["foreground_threshold"] == 0.5, "the model's own, where nothing is set"
    assert made["software"].startswith("napari-unet ")


# what can go wrong


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: ...")]
)
def test_too_little_memory_is_told_with_what_to_do(
    error: Exception, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, x: torch.Tensor, core: Any = None) -> torch.Tensor:
        raise error

    monkeypatch.setattr("napari_unet.network.unet.UNet.forward", fail)
    with pytest.raises(PredictionError, match=r"does not fit into the memory of this machine\. Close other programs"):
        predict(np.zeros((20, 20)), model, config=CPU)


def test_other_errors_of_the_network_are_not_hidden(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, x: torch.Tensor, core: Any = None) -> torch.Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr("napari_unet.network.unet.UNet.forward", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        predict(np.zeros((20, 20)), model, config=CPU)


def test_tile_smaller_than_its_halo_names_the_least(model: Model) -> None:
    with pytest.raises(ConfigError, match=r"at least \((\d+), (\d+)\)") as caught:
        predict(np.zeros((20, 20)), model, config=PredictConfig(device="cpu", tile=(8, 8)))
    least = tuple(map(int, str(caught.value).rpartition("(")[2].rstrip(").").split(", ")))
    predict(np.zeros((20, 20)), model, config=PredictConfig(device="cpu", tile=least))


def test_tile_of_another_number_of_axes_is_refused(model: Model) -> None:
    with pytest.raises(ConfigError, match="1 size but the model has 2 axes"):
        predict(np.zeros((20, 20)), model, config=PredictConfig(device="cpu", tile=(64,)))


def test_unknown_device_is_refused(model: Model) -> None:
    with pytest.raises(ConfigError, match="doctor"):
        predict(np.zeros((20, 20)), model, config=PredictConfig(device="tpu"))


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"min_prominence": 1.0}, {"foreground_threshold": 0.0}, {"precision": "int8"}, {"tyle": 3}]
)
def test_settings_have_ranges(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PredictConfig(**wrong)


def test_half_precision_is_near(stack: NDArray[Any], model: Model) -> None:
    exact = predict(stack[0, 0, 0], model, config=CPU, return_maps=True)
    half = predict(stack[0, 0, 0], model, config=PredictConfig(device="cpu", precision="bfloat16"), return_maps=True)
    assert half.provenance["precision"] == "bfloat16"
    assert half.maps is not None
    assert half.maps.dtype == np.float32
    np.testing.assert_allclose(half.maps, np.asarray(exact.maps), atol=0.05)


def test_activations_work_with_and_without_a_batch() -> None:
    spec = ModelSpec(task="semantic", classes=(ClassSpec(name="a"),))
    logits = torch.randn(2, 2, 3, 4)
    torch.testing.assert_close(activate(logits, spec), torch.softmax(logits, 1))
    torch.testing.assert_close(activate(logits[0], spec), torch.softmax(logits[0], 0))


def test_large_plane_is_planned_within_the_memory(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("napari_unet.prediction.runner")
    planning = importlib.import_module("napari_unet.prediction.planning")
    image = np.zeros((1, 200, 300), np.float32)
    for memory in (1, 60 * 60, 100 * 100):
        monkeypatch.setattr(planning, "largest_tile", lambda *_, memory=memory, **__: memory)
        runner = module.TileRunner(model.network, CPU, [slice(0, n) for n in image.shape[1:]])
        smallest = runner.layout.input_size(model.network, (1, 1))
        assert np.prod(runner.size) * runner.batch <= max(memory, np.prod(smallest))


# object size


def test_object_size_rescales_the_image_and_brings_the_maps_back(model: Model) -> None:
    sized = Model(model.network, model.spec.model_copy(update={"object_diameter_px": 10.0}))
    image = ndi.gaussian_filter(np.random.default_rng(0).random((120, 100)), 2)
    config = CPU.model_copy(update={"object_diameter_px": 20.0})
    whole = predict(image, sized, config=config, return_maps=True)
    assert whole.labels.shape == image.shape
    assert whole.provenance["scale"] == 0.5

    normalization = measure_normalization(image[None, None, None])
    half = Rescaled(image[None], 0.5)[:, :, :][0]
    small = predict(half, sized, config=CPU, normalization=normalization, return_maps=True)
    assert small.maps is not None
    back = resample_plane(small.maps, (0, 0), 0.5, [slice(0, 120), slice(0, 100)], half.shape)
    np.testing.assert_allclose(np.asarray(whole.maps), back, atol=2e-5)


def test_object_size_near_that_of_the_model_or_unknown_to_it_changes_nothing(model: Model) -> None:
    image = np.random.default_rng(0).random((40, 50))
    for known, wanted in ((10.0, 10.5), (None, 30.0)):
        sized = Model(model.network, model.spec.model_copy(update={"object_diameter_px": known}))
        result = predict(image, sized, config=CPU.model_copy(update={"object_diameter_px": wanted}))
        assert result.provenance["scale"] == 1


def test_rescaled_view_gets_what_the_whole_gets(model: Model) -> None:
    sized = Model(model.network, model.spec.model_copy(update={"object_diameter_px": 10.0}))
    image = np.random.default_rng(1).random((90, 110), np.float32)
    for diameter in (6.5, 23.0):
        config = CPU.model_copy(update={"object_diameter_px": diameter})
        whole = predict(image, sized, config=config, return_maps=True)
        view = predict(image, sized, config=config, return_maps=True, region={"Y": slice(17, 80), "X": slice(33, 90)})
        assert whole.maps is not None
        assert view.maps is not None
        np.testing.assert_allclose(view.maps, whole.maps[:, 17:80, 33:90], atol=2e-5)


def test_damaged_pixels_spoil_nothing_where_the_image_is_rescaled(stack: NDArray[Any], tiny_model: Make) -> None:
    model = tiny_model(object_diameter_px=10.0)
    config = PredictConfig(device="cpu", object_diameter_px=14)
    image = stack[0, 0, 0].copy()
    known = measure_normalization(image[None, None, None])
    clean = predict(image, model, config=config, normalization=known, return_maps=True)
    image[1, 2], image[2, 2], image[1, 1] = np.nan, np.inf, 1e300
    damaged = predict(image, model, config=config, normalization=known, return_maps=True)
    assert clean.maps is not None
    assert damaged.maps is not None
    assert np.isfinite(damaged.maps).all()
    assert np.ptp(damaged.maps) > 0.1


def test_model_with_flat_kernels_sees_fewer_slices_than_pixels(tiny_model: Make) -> None:
    model = tiny_model(network={"spatial_dims": 3, "features": (3, 4, 4), "flat_levels": 1})
    image = np.random.default_rng(0).random((30, 70, 40))
    known = measure_normalization(image[None, None])
    changed = image.copy()
    changed[0] = 1
    config = CPU.model_copy(update={"tile": (40, 96, 88)})
    before, after = (
        np.asarray(predict(i, model, axes="ZYX", config=config, normalization=known, return_maps=True).maps)
        for i in (image, changed)
    )
    reached = np.flatnonzero((before != after).any((0, 2, 3)))
    assert 0 in reached
    assert reached.max() <= 12
    view = predict(image, model, axes="ZYX", config=config, normalization=known, return_maps=True,
                   region={"Z": slice(3, 20), "Y": slice(11, 60)})  # fmt: skip
    np.testing.assert_allclose(np.asarray(view.maps), before[:, 3:20, 11:60], atol=2e-6)
