"""Where to look next: the view is predicted once more, mirrored, and the queue gets a better order."""

from __future__ import annotations

from threading import Event

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_unet.gui.session import Scope


def drained(work):
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "stack"])
def test_the_mirrored_maps_lie_where_the_view_lies(start, discs, kind):
    image = discs(2) if kind == "stack" else discs()
    user = start({"dask": da.from_array, "zarr": zarr.array}.get(kind, np.asarray)(image))
    user.segment()
    user.look_at(slice(0, 40), slice(20, 60))
    bench, document = user.panel.workbench, user.document
    box = bench.segmenting.box(Scope.VIEW)
    assert box[-1].start > 0, "not in the middle"
    maps = drained(bench.segmenting.predict_mirrored(document, bench.model, box, Event()))
    # this model looks at single pixels: mirrored or not is the same to it
    np.testing.assert_allclose(maps, document.guide[(slice(None), *box)], atol=1e-4)


def test_the_queue_goes_on_in_the_order_that_the_mirror_gives(user, monkeypatch):
    user.segment()
    predicted = user.panel.workbench.segmenting.predict_mirrored
    second = user.labels[12, 44]

    def other_in_the_mirror(document, *others):
        maps = yield from predicted(document, *others)
        maps = np.array(maps)
        box = user.panel.workbench.segmenting.box(Scope.VIEW)
        maps[:, document.labels[box] == second] -= 0.9
        return maps

    monkeypatch.setattr(user.panel.workbench.segmenting, "predict_mirrored", other_in_the_mirror)
    looking = user.panel.workbench.correcting.looking
    user.press("next")
    user.until(lambda: looking._here is not None and looking._mirroring is None and looking._job is None)
    shown = looking._here.number
    left = [place.number for place in looking._queue]
    assert left[0] == second if shown != second else second not in left
    assert len(left) == 4
    user.press("next")
    assert looking._here.number == left[0]
    # another segmentation begins anew
    user.segment()
    assert looking._queue is None


def test_at_the_edge_of_the_image_the_canvas_is_not_left_half_empty(start, discs):
    user = start(np.tile(discs(), (3, 3)))
    user.segment()
    user.look_at(slice(64, 128), slice(64, 128))
    looking, canvas = user.panel.workbench.correcting.looking, np.array(user.viewer.canvas.size)
    user.press("next")
    user.until(lambda: looking._here is not None and looking._mirroring is None and looking._job is None)
    camera, edges = user.viewer.scene.camera, set()
    for _ in range(45):
        half = canvas / camera.zoom / 2
        middle, place = np.array(camera.center[-2:]), np.array(looking._here.point)
        assert (np.abs(place - middle) <= half).all(), "what is looked at is in sight"
        assert (middle - half >= -0.1 * 2 * half - 1).all()
        assert (middle + half <= 192 + 0.1 * 2 * half).all()
        edges |= set(np.flatnonzero(np.abs(place - middle) > 1).tolist())
        if looking._queue:
            user.press("next")
    assert edges == {0, 1}, "no place was near an edge"
