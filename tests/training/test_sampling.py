"""From annotated images to patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet import Annotated, ClassSpec, ModelSpec, NetworkSpec, Status
from napari_unet.errors import AnnotationError, ImageError, TrainingError
from napari_unet.images import measure_normalization
from napari_unet.prediction.tiling import mirror_index
from napari_unet.training import AugmentConfig
from napari_unet.training.patches import PatchReader
from napari_unet.training.sampling import Field, PatchSampler, Place, make_fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLANES = ModelSpec()
VOLUMES = ModelSpec(network=NetworkSpec(spatial_dims=3))
CLASSES = ModelSpec(task="semantic", classes=(ClassSpec(name="a"), ClassSpec(name="b")))


@pytest.fixture
def movie(rng: np.random.Generator) -> Annotated:
    """Return two frames of three slices with an object in each plane but one."""
    labels = np.zeros((2, 3, 20, 24), np.int32)
    labels[:, :, 5:12, 6:14] = 1
    labels[1, 2] = 0
    return Annotated(rng.random((2, 3, 20, 24)), labels, axes="TZYX", name="movie")


def test_planes_and_volumes(movie: Annotated) -> None:
    planes, volumes = make_fields([movie], PLANES), make_fields([movie], VOLUMES)
    assert [field.image.shape for field in planes] == [(1, 20, 24)] * 6
    assert [field.image.shape for field in volumes] == [(1, 3, 20, 24)] * 2
    assert {field.group for field in planes} == {volumes[0].group}, "the planes of a movie belong together"
    assert all(field.name == "movie" and field.checked.all() for field in planes + volumes)
    assert all(field.image.dtype == np.float32 for field in planes)


def test_planes_are_normalised_as_the_movie_is(movie: Annotated) -> None:
    whole = measure_normalization(movie.image[:, None]).apply(movie.image[1, 2][None])
    np.testing.assert_array_equal(make_fields([movie], PLANES)[5].image, whole)


def test_known_intensities_are_used_for_a_part_of_an_image(movie: Annotated) -> None:
    part = Annotated(movie.image[0, 0, :9], movie.labels[0, 0, :9], intensity_range=((0.0,), (2.0,)))
    np.testing.assert_allclose(make_fields([part], PLANES)[0].image[0], part.image / 2, rtol=1e-6)


@pytest.mark.parametrize("axes", ["XYZT", "ZTXY"])
def test_labels_and_status_follow_the_axes_of_the_image(axes: str, movie: Annotated) -> None:
    status = np.zeros(movie.labels.shape, np.uint8)
    status[:, 1:, 3:15, 2:20] = Status.CHECKED
    order = ["TZYX".index(letter) for letter in axes]
    image, labels, turned_status = (np.transpose(x, order) for x in (movie.image, movie.labels, status))
    turned = Annotated(image, labels, turned_status, axes=axes)
    straight = Annotated(movie.image, movie.labels, status, axes="TZYX")
    for a, b in zip(make_fields([turned], PLANES), make_fields([straight], PLANES), strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.checked, b.checked)
        np.testing.assert_array_equal(a.targets.learn, b.targets.learn)
        np.testing.assert_array_equal(a.targets.objects > 0, b.targets.objects > 0)


def test_frames_with_nothing_checked_are_passed_over(movie: Annotated) -> None:
    status = np.full(movie.labels.shape, Status.IGNORE)
    status[0, 1, 3, 3] = Status.CHECKED
    status[1] = Status.UNCHECKED
    marked = Annotated(movie.image, movie.labels, status, axes="TZYX")
    assert [field.checked.sum() for field in make_fields([marked], PLANES)] == [1]
    assert len(make_fields([marked], VOLUMES)) == 1


def test_samples_without_a_group_are_groups_of_their_own(movie: Annotated) -> None:
    same_name = [Annotated(movie.image, movie.labels, axes="TZYX") for _ in range(3)]
    assert len({field.group for field in make_fields(same_name, PLANES)}) == 3
    crops = [Annotated(movie.image, movie.labels, axes="TZYX", group="field 1", name=f"{n}") for n in range(3)]
    assert {field.group for field in make_fields(crops, PLANES)} == {"field 1"}


def test_colours_are_taken_as_colours_or_as_their_brightness(rng: np.random.Generator) -> None:
    sample = Annotated(rng.random((9, 8, 3)), np.ones((9, 8), int), axes="YXS")
    grey = sample.image.mean(2, dtype=np.float32)
    expected = measure_normalization(grey[None, None, None]).apply(grey[None])
    np.testing.assert_allclose(make_fields([sample], PLANES)[0].image, expected, atol=1e-6)
    with pytest.raises(ImageError, match="3 channels"):
        make_fields([sample], ModelSpec(channels=("a", "b")))
    spec = ModelSpec(channels=("r", "g", "b"))
    channels = np.moveaxis(sample.image, 2, 0)
    expected = measure_normalization(channels[None, :, None]).apply(channels)
    np.testing.assert_allclose(make_fields([sample], spec)[0].image, expected)


def test_classes_that_the_model_lacks_are_refused_where_they_are_checked(rng: np.random.Generator) -> None:
    labels = np.array([[0, 1, 2, 3]])
    status = np.array([[1, 1, 1, 0]])
    assert len(make_fields([Annotated(rng.random((1, 4)), labels, status)], CLASSES)) == 1
    with pytest.raises(AnnotationError, match=r"a\.tif: the labels hold class 3 but the model has 2 \(a, b\)"):
        make_fields([Annotated(rng.random((1, 4)), labels, name="a.tif")], CLASSES)


@pytest.mark.parametrize("spec", [PLANES, CLASSES])
def test_negative_labels_are_refused(spec: ModelSpec, rng: np.random.Generator) -> None:
    with pytest.raises(AnnotationError, match="negative"):
        make_fields([Annotated(rng.random((1, 3)), np.array([[0, -1, 1]]))], spec)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": np.zeros((4, 5), int)}, r"need the shape \(4, 4\)"),
        ({"labels": np.zeros((4, 4))}, "Convert them to integers"),
        ({"status": np.zeros((4, 3), np.uint8)}, "status has the shape"),
        ({"axes": "ZYX"}, "2 dimensions but its axes are given as 'ZYX'"),
    ],
)
def test_annotation_that_does_not_fit_its_image_is_refused(arguments: dict[str, Any], words: str) -> None:
    fitting = {"image": np.zeros((4, 4)), "labels": np.zeros((4, 4), int), "name": "img_03.tif"}
    with pytest.raises(AnnotationError, match=f"img_03.tif: .*{words}"):
        Annotated(**{**fitting, **arguments})


def test_field_without_a_box_teaches_and_scores_nothing_there(movie: Annotated) -> None:
    field = make_fields([movie], PLANES)[0]
    box = (slice(4, 8), slice(0, 24))
    less = field.without(box)
    for mask in (less.checked, less.targets.learn, less.targets.learn_distances):
        assert not mask[box].any()
    np.testing.assert_array_equal(less.checked[8:], field.checked[8:])
    assert field.checked.all(), "the field itself is not changed"


# patches


OFF = AugmentConfig(elastic_px=0, rotate=False, scale=1, flip=False, intensity=False, shading=0, noise=0, blur_px=0)


class Drawn:
    """Patches as training gets them, as arrays: ``BC(Z)YX``."""

    def __init__(self, fields: list[Field], size: tuple[int, ...], batch: int, config: AugmentConfig = OFF) -> None:
        places = PatchSampler(fields, size, np.random.default_rng(0)).draw(batch)
        reader = PatchReader(fields, torch.device("cpu"))
        generator = torch.Generator().manual_seed(0)
        self.image, self.distances, self.masks = (
            tensor.numpy() for tensor in reader.read(places, size, config, generator)
        )


def draw(
    labels: NDArray[Any], status: NDArray[Any] | None, size: tuple[int, ...], batch: int, spec: ModelSpec = PLANES,
    config: AugmentConfig = OFF,
) -> Drawn:  # fmt: skip
    axes = "YX" if labels.ndim == 2 else "ZYX"
    image = 1000.0 + labels
    sample = Annotated(image, labels, status, axes=axes, intensity_range=((1000.0,), (1001.0,)))
    return Drawn(make_fields([sample], spec), size, batch, config)


points = st.tuples(st.integers(0, 29), st.integers(0, 39))


@settings(max_examples=40)
@given(
    objects=st.lists(points, min_size=1, max_size=4),
    background=st.lists(points, min_size=1, max_size=4),
    size=st.tuples(st.integers(16, 50), st.integers(16, 50)),
)
def test_patch_always_holds_something_to_learn_near_its_centre(
    objects: list[tuple[int, int]], background: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    labels, status = np.zeros((30, 40), np.int32), np.zeros((30, 40), np.uint8)
    for point in background:
        status[point] = Status.CHECKED
    for point in objects:
        labels[point] = status[point] = Status.CHECKED
    patches = draw(labels, status, size, 8)
    middle = tuple(slice(n // 2 - n // 4, n // 2 + n // 4 + 1) for n in size)
    assert patches.masks[(slice(None), 1, *middle)].any(axis=(1, 2)).all()


@pytest.mark.parametrize("shape", [(20, 24), (6, 20, 24)])
@pytest.mark.parametrize("factor", [0.5, 3])
def test_patches_of_any_size_keep_image_and_targets_together(shape: tuple[int, ...], factor: float) -> None:
    labels = np.zeros(shape, np.int32)
    labels[..., 4:9, 5:12] = 1
    size = tuple(max(1, int(factor * n)) for n in shape)
    patches = draw(labels, None, size, 5, PLANES if len(shape) == 2 else VOLUMES)
    assert patches.image.shape == (5, 1, *size)
    assert patches.distances.shape == (5, 2, *size)
    assert patches.masks.shape == (5, 4, *size)
    np.testing.assert_allclose(patches.image[:, 0], patches.masks[:, 0], atol=1e-4)
    assert (patches.masks[:, 1] == 1).all()
    assert ((patches.distances[:, 0] > 1e-3) == (patches.masks[:, 2] > 0)).all()


def test_objects_are_favoured_over_the_background() -> None:
    labels = np.zeros((200, 200), np.int32)
    labels[:10, :10] = 1  # a four-hundredth of the area
    patches = draw(labels, None, (8, 8), 200)
    share = patches.masks[:, 0, 2:7, 2:7].any(axis=(1, 2)).mean()
    assert 0.6 < share < 0.85


def test_same_generator_draws_the_same_patches() -> None:
    labels = np.random.default_rng(1).integers(0, 2, (40, 40))
    one, two = (draw(labels, None, (16, 16), 6) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.masks, two.masks)


@settings(max_examples=20)
@given(shape=st.sampled_from([(7, 9), (1, 1), (3, 5, 8)]), odd=st.booleans(), seed=st.integers(0, 99))
def test_patch_is_the_image_and_beyond_it_its_mirror_image(shape: tuple[int, ...], odd: bool, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, shape)
    image = np.random.default_rng(seed + 1).random(shape).astype(np.float32)
    spec = ModelSpec(task="semantic", classes=CLASSES.classes, network=NetworkSpec(spatial_dims=len(shape)))
    sample = Annotated(image, labels, axes="ZYX"[-len(shape) :], intensity_range=((0.0,), (1.0,)))
    fields = make_fields([sample], spec)
    size = tuple(n + 5 + odd for n in shape)
    centre = np.random.default_rng(seed).integers(0, shape)
    generator = torch.Generator().manual_seed(0)
    reader = PatchReader(fields, torch.device("cpu"))
    read, _, masks = reader.read([Place(0, centre)], size, OFF, generator)
    starts = [int(c) - s // 2 for c, s in zip(centre, size, strict=True)]
    where = np.ix_(*(mirror_index(a, a + s, n) for a, s, n in zip(starts, size, shape, strict=True)))
    np.testing.assert_allclose(read[0, 0], image[where], atol=1e-4)
    np.testing.assert_array_equal(masks[0, 0], labels[where])
    assert masks[0, 1].all()


def test_fields_with_nothing_left_to_learn_are_never_drawn(movie: Annotated) -> None:
    fields = make_fields([movie], PLANES)
    emptied = [fields[0], *(field.without((slice(None), slice(None))) for field in fields[1:])]
    draws = Drawn(emptied, (16, 16), 30)
    assert draws.masks[:, 1].any(axis=(1, 2)).all()


def test_nothing_checked_background_alone_or_objects_alone_are_told() -> None:
    labels = np.zeros((20, 20), np.int32)
    with pytest.raises(TrainingError, match="No object is checked"):
        draw(labels, None, (8, 8), 1)
    with pytest.raises(TrainingError, match="No object is checked"):
        draw(labels, np.zeros_like(labels), (8, 8), 1)
    with pytest.raises(TrainingError, match="No object is checked"):
        PatchSampler([], (8, 8), np.random.default_rng(0))
    with pytest.raises(TrainingError, match="No background is checked"):
        draw(labels + 1, None, (8, 8), 1)


def test_ring_of_a_drawn_object_is_background_enough() -> None:
    labels = np.zeros((30, 30), np.int32)
    labels[10:20, 10:20] = 1
    assert draw(labels, labels.astype(np.uint8), (16, 16), 2).masks[:, 1].any()


def test_single_checked_voxel_is_still_in_the_patch_once_it_is_bent() -> None:
    labels = np.zeros((300, 300), np.int32)
    labels[150, 150] = 1
    masks = draw(labels, labels.astype(np.uint8), (192, 192), 16, config=AugmentConfig()).masks
    assert masks[:, 1].any((1, 2)).all()


@pytest.mark.parametrize("spec", [PLANES, CLASSES])
def test_mask_of_true_and_false_is_one_object(spec: ModelSpec, rng: np.random.Generator) -> None:
    labels = np.zeros((12, 12), bool)
    labels[3:7, 3:7] = True
    (field,) = make_fields([Annotated(rng.random((12, 12)), labels)], spec)
    np.testing.assert_array_equal(field.targets.classes, labels)
