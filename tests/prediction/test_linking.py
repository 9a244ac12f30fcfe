"""Objects of planes linked into 3-D objects, and through time."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet import PredictConfig, Trained, iter_predict, predict
from napari_unet.prediction import link
from napari_unet.prediction.linking import link_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CPU = PredictConfig(device="cpu", precision="float32")


def planes(seed: int, most: int = 5) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    before, now = (np.kron(rng.integers(0, most + 1, (4, 4)), np.ones((2, 3), int)).astype(np.int32) for _ in range(2))
    _, compact = np.unique(np.concatenate([[0], now.ravel()]), return_inverse=True)
    return before * 3, compact[1:].reshape(now.shape).astype(np.int32)


def iou(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float((one & other).sum() / (one | other).sum())


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), least=st.sampled_from([0.1, 0.25, 0.5]))
def test_linking_is_the_best_assignment(seed: int, least: float) -> None:
    before, now = planes(seed)
    linked = link(before, now, min_overlap=least, above=100)
    np.testing.assert_array_equal(linked > 0, now > 0)
    old, new = np.setdiff1d(before, [0]), np.setdiff1d(now, [0])
    overlap = {(a, b): iou(before == a, now == b) for a in old for b in new}
    share = {(a, b): (before == a)[now == b].sum() / min((before == a).sum(), (now == b).sum()) for a, b in overlap}
    total = 0.0
    for b in new:
        ids = np.unique(linked[now == b])
        assert len(ids) == 1
        if ids[0] <= 100:
            assert share[(ids[0], b)] >= least
            total += overlap[(ids[0], b)]
    assert len(np.setdiff1d(linked, [0])) == len(new), "one continues one"
    fresh = np.setdiff1d(linked, [0, *old])
    np.testing.assert_array_equal(fresh, np.arange(101, 101 + len(fresh)))
    padded = [*old, *[None] * len(new)]
    best = max(
        sum(overlap[(a, b)] for a, b in zip(choice, new, strict=False) if a is not None and share[(a, b)] >= least)
        for choice in permutations(padded[: max(len(old), len(new))], min(len(new), len(padded)))
    )
    assert total == pytest.approx(best)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), block=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_linking_does_not_depend_on_the_blocks(seed: int, block: tuple[int, int]) -> None:
    before, now = planes(seed)
    blockwise = now + 40 * (now > 0)
    highest = link_arrays(before, blockwise, block, min_overlap=0.5, base=40, above=60)
    np.testing.assert_array_equal(blockwise, link(before, now, above=60))
    assert highest == max(60, blockwise.max())


def cylinders(shift: int = 0) -> NDArray[np.uint16]:
    """Return a stack of discs: two go through all slices, one ends, another begins where a slice is free."""
    rng = np.random.default_rng(0)
    y, x = np.indices((64, 80))
    stack = rng.normal(400, 100, (4, 64, 80))
    through = [(n, centre) for n in range(4) for centre in ((16, 16), (46, 20 + n))]
    for z, (cy, cx) in [*through, (0, (20, 56)), (1, (20, 56)), (3, (44, 60))]:
        stack[z][np.hypot(y - cy, x - cx - shift) <= 5] += 1500
    return stack.clip(0).astype(np.uint16)


def test_model_of_planes_finds_objects_of_volumes(disc_training: Trained) -> None:
    result = predict(cylinders(), disc_training.model, axes="ZYX", config=CPU)
    labels = result.labels
    assert (labels[:, 16, 16] == labels[0, 16, 16]).all()
    assert (labels[range(4), 46, range(20, 24)] == labels[0, 46, 20]).all()
    assert labels[0, 20, 56] == labels[1, 20, 56] > 0
    assert labels.max() == 4
    assert result.provenance["linked"] == {"axes": "Z", "min_overlap": CPU.min_overlap}
    apart = predict(cylinders(), disc_training.model, axes="ZYX", config=CPU.model_copy(update={"link_z": False}))
    assert apart.labels.max() == 11
    assert apart.provenance["linked"] == {"axes": ""}


def test_objects_keep_their_ids_through_time_where_that_is_asked_for(disc_training: Trained) -> None:
    movie = np.stack([cylinders(), cylinders(1), cylinders(2)])
    labels = predict(movie, disc_training.model, axes="TZYX", config=CPU).labels
    assert labels.max() == 12, "frames apart"
    config = CPU.model_copy(update={"link_t": True})
    result = predict(movie, disc_training.model, axes="TZYX", config=config)
    assert result.labels.max() == 4
    assert (result.labels[range(3), :, 16, range(16, 19)] == result.labels[0, 0, 16, 16]).all()
    assert result.provenance["linked"]["axes"] == "ZT"
    plane = predict(movie[:, 0], disc_training.model, axes="TYX", config=config)
    assert plane.labels.max() == 3


def test_linked_labels_on_disk_go_on_where_they_were_ended(disc_training: Trained, tmp_path: Path) -> None:
    movie = np.stack([cylinders(), cylinders(1), cylinders(2)])
    for config in (CPU, CPU.model_copy(update={"link_t": True})):
        expected = predict(movie, disc_training.model, axes="TZYX", config=config).labels
        for stop_after in (2, 7, 11):
            out = tmp_path / f"{config.link_t}{stop_after}.zarr"
            steps = iter_predict(movie, disc_training.model, axes="TZYX", config=config, out=out)
            for _ in range(stop_after):
                next(steps)
            steps.close()
            list(iter_predict(movie, disc_training.model, axes="TZYX", config=config, out=out))
            np.testing.assert_array_equal(zarr.open_array(out)[:], expected)
