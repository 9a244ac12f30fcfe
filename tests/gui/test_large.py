"""Stacks whose labels do not fit into memory: in a file, taken over piece by piece, corrected slice by slice."""

import tracemalloc

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_unet.correction import filling, identity
from napari_unet.gui import document as document_module
from napari_unet.gui import object_document, segmenting
from napari_unet.images import normalize


@pytest.fixture
def small_memory(monkeypatch):
    """Let nothing fit, and make pieces of a plane."""
    monkeypatch.setattr(document_module, "fits", lambda _: False)
    monkeypatch.setattr(filling, "_PIECE", 64 * 64)
    for module in (segmenting, object_document):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 2 * 64 * 64)
    monkeypatch.setattr(segmenting, "MOST_VOXELS", 2 * 64 * 64)


def stored(folder, image, chunk):
    """Return an image as a program that does not load it opens it."""
    return da.from_zarr(zarr.create_array(folder / "image.zarr", data=image, chunks=chunk))


@pytest.fixture
def stacker(start, discs, tmp_path, small_memory):
    """A user with a stack on disk that is too large."""
    return start(stored(tmp_path, discs(5), (1, 64, 64)))


def test_everything_on_a_stack_that_does_not_fit(stacker, discs):
    user = stacker
    said = []
    user.session.events.message.connect(said.append)
    user.segment()
    document = user.document
    assert document.is_large
    assert "5 objects" in user.says, user.says
    assert any("Taking over the labels" in one for one in said)
    for plane in user.labels:
        np.testing.assert_array_equal(plane > 0, discs() > 500)
    assert document.counts() == (0, 0)
    assert list(document.objects) == [1, 2, 3, 4, 5]
    assert document.objects.box(1)[0] == slice(0, 5)
    assert not (document.store.path / "prediction.zarr").exists()
    assert not document.undo(), "nothing leads back behind it"
    # corrections go slice by slice and can be undone
    user.press("tool_delete")
    user.click((12, 12))
    user.press("tool_draw")
    document.editable.brush_size = 5
    user.stroke(np.array([(30, 6), (33, 7)]))
    labels, status = user.labels, user.status
    assert not labels[:, 12, 12].any(), "an object goes in all its planes"
    z = user.viewer.dims.current_step[0]
    drawn = labels[z, 31, 6]
    assert drawn > 5
    user.press("undo")
    assert user.labels[z, 31, 6] == 0
    user.press("redo")
    np.testing.assert_array_equal(user.labels, labels)
    # predicting again keeps them
    user.segment()
    np.testing.assert_array_equal(user.labels[status == 1], labels[status == 1])
    np.testing.assert_array_equal(user.status, status)
    assert document.counts() == (1, 2)
    assert len(document.objects) == 5
    assert len(np.unique(user.labels)) == 6
    user.choose("complete_scope", "image")
    user.press("complete")
    assert "slice by slice" in user.says
    np.testing.assert_array_equal(user.status, status)


def test_what_was_done_in_a_large_stack_comes_back(stacker, start):
    user = stacker
    user.segment()
    user.press("tool_delete")
    user.click((12, 12))
    labels, status = user.labels, user.status
    image = user.viewer.layers["img"].data
    user.panel.workbench.close()
    user.viewer.close()
    other = start(image)
    other.until(lambda: other.session.segmented)
    np.testing.assert_array_equal(other.labels, labels)
    np.testing.assert_array_equal(other.status, status)
    assert len(other.document.objects) == 4
    other.press("undo")
    assert (other.labels[:, 12, 12] > 0).all(), "what came after can be undone"
    other.press("undo")
    assert (other.labels[:, 12, 12] > 0).all()


def test_cancelled_goes_on_where_it_was(start, discs, tmp_path, small_memory, monkeypatch):
    user = start(stored(tmp_path, discs(40), (1, 64, 64)))
    predicted = []
    real = segmenting.iter_predict

    def watched(*arguments, **others):
        steps = real(*arguments, **others)
        while True:
            try:
                event = next(steps)
            except StopIteration as done:
                return done.value
            predicted.append(event)
            yield event

    monkeypatch.setattr(segmenting, "iter_predict", watched)
    user.press("segment")
    user.until(lambda: len(predicted) > 5)
    user.press("cancel")
    user.until(lambda: user.idle)
    assert user.says == "Cancelled. What is done is kept: Segment image goes on there."
    assert not user.session.segmented
    done = max(event.done for event in predicted)
    assert done < predicted[0].total
    predicted.clear()
    user.segment()
    assert predicted[0].done > 1, "it does not begin anew"
    for plane in user.labels:
        np.testing.assert_array_equal(plane > 0, discs() > 500)


def test_classes_of_a_large_stack(start, discs, tmp_path, small_memory, library, make_model):
    from napari_unet import save_model

    save_model(make_model("regions", "semantic", ("bright", "other")), library / "regions")
    user = start(stored(tmp_path, discs(5), (1, 64, 64)))
    user.choose("model", "regions")
    user.segment()
    for plane in user.labels:
        np.testing.assert_array_equal(plane, discs() > 500)
    user.press("tool_draw")
    document = user.panel.workbench.document
    document.editable.brush_size = 5
    user.stroke(np.array([(30, 6), (33, 7)]))
    labels, status = user.labels, document.status.copy()
    assert status.any()
    user.segment()
    np.testing.assert_array_equal(user.labels, labels)


def test_labels_of_a_large_stack_go_out(stacker, tmp_path, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    from napari_unet.images import open_image

    user = stacker
    user.segment()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "a.ome.zarr"), ""))
    user.panel.workbench.results.export_labels(str(tmp_path / "a.ome.zarr"))
    user.until(lambda: user.idle)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "a.ome.zarr").data), user.labels)
    user.press("measure_objects")
    user.until(lambda: len(user.document.editable.features) > 1)
    assert len(user.document.editable.features) == 6


def test_memory_does_not_grow_with_the_stack(start, discs, tmp_path, small_memory, monkeypatch):
    monkeypatch.setattr(identity, "_WHOLE", 2**16)  # samples of the image, which are bounded
    monkeypatch.setattr(normalize, "_MAX_BLOCKS", 8)
    plane, counts, peaks = np.tile(discs(), (4, 4)), (8, 40), []
    monkeypatch.setattr(filling, "_PIECE", plane.size)
    for count in counts:
        folder = tmp_path / str(count)
        folder.mkdir()
        chunks = (1, *plane.shape)
        pixels = zarr.create_array(folder / "a.zarr", shape=(count, *plane.shape), chunks=chunks, dtype=plane.dtype)
        for z in range(count):
            pixels[z] = plane
        user = start(da.from_zarr(pixels))
        tracemalloc.start()
        user.segment()
        user.press("tool_delete")
        user.click((12, 12))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert user.document.labels.shape == (count, *plane.shape)
        assert len(user.document.objects) == 79
        user.panel.workbench.close()
    voxels = (counts[1] - counts[0]) * plane.size
    assert peaks[1] - peaks[0] < voxels / 2, f"half a byte for each voxel more: {peaks}"
