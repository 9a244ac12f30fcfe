"""Stacks whose labels do not fit into memory: in a file, taken over piece by piece, corrected slice by slice."""

import threading
import tracemalloc

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image
from scipy import ndimage as ndi

from napari_unet.correction import ObjectTable, filling, identify, identity, open_store
from napari_unet.correction import importing as import_core
from napari_unet.correction.arrays import LabelArrays
from napari_unet.gui import collecting, documents, importing, learning, object_document, room, segmenting, versions
from napari_unet.gui import document as document_module
from napari_unet.gui import held as held_module
from napari_unet.gui.in_pieces import changed_in_pieces
from napari_unet.gui.jobs import MainThread
from napari_unet.images import normalize


@pytest.fixture
def small_memory(monkeypatch):
    """Let nothing fit, and make pieces of a plane."""
    for module in (held_module, room):
        monkeypatch.setattr(module, "fits", lambda _: False)
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
    predicted = user.labels
    user.undo()
    user.until(lambda: user.idle and user.says == "Taken back.")
    assert not user.labels.any()
    assert not document.has_labels
    assert document.editable.editable
    user.redo()
    user.until(lambda: user.idle and user.says == "Made again.")
    np.testing.assert_array_equal(user.labels, predicted)
    assert as_counted(document)[0] == as_counted(document)[1]
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


def test_a_large_stack_is_complete_in_one_step(stacker):
    user = stacker
    user.segment()
    user.press("tool_ignore")
    user.click((12, 12))
    ignored = user.status == 2
    assert ignored.any()
    labels, before = user.labels, user.status
    user.choose("complete_scope", "slice")
    user.press("complete")
    z = user.viewer.dims.current_step[0]
    assert (user.status[z] > 0).all(), "a slice goes at once"
    user.undo()
    np.testing.assert_array_equal(user.status, before)
    user.choose("complete_scope", "image")
    user.press("complete")
    user.until(lambda: user.idle)
    assert user.says == "5 objects are right and nothing is missing here. Go on, or press Train."
    np.testing.assert_array_equal(user.labels, labels)
    np.testing.assert_array_equal(user.status, np.where(ignored, 2, 1))
    assert user.document.counts()[0] == 4
    assert len(user.document.decided) == 4, "it is counted as what goes object by object is"
    assert user.document.editable.editable
    steps = user.document.corrections
    user.press("undo")
    user.until(lambda: user.idle and user.says == "Taken back.")
    np.testing.assert_array_equal(user.status, before)
    assert user.document.counts()[0] == 0
    assert user.document.decided == []
    assert user.document.corrections == steps - 1
    user.press("undo")
    assert not user.status.any(), "what was done before can be taken back too"
    user.press("redo")
    user.press("redo")
    user.until(lambda: user.idle and user.says == "Made again.")
    np.testing.assert_array_equal(user.status, np.where(ignored, 2, 1))
    assert user.document.corrections == steps


@pytest.mark.parametrize("as_truth", [False, True])
def test_labels_of_other_programs_are_taken_over_in_pieces(stacker, tmp_path, as_truth):
    user, answer = stacker, "import_truth" if as_truth else "import_to_check"
    theirs = np.zeros((5, 64, 64), np.uint16)
    theirs[1:4, 20:30, 20:30] = 7
    theirs[2:, 40:50, 5:15] = 9
    zarr.create_array(tmp_path / "theirs.zarr", data=theirs, chunks=(1, 64, 64))
    importing = user.panel.workbench.importing
    importing.choose_file(tmp_path / "theirs.zarr")
    user.until(lambda: bool(user.session.import_question))
    assert "2 objects" in user.session.import_question
    user.press(answer)
    user.until(lambda: user.idle and user.says.startswith("Taken over"))
    assert user.says.endswith("Control-Z takes it back.")
    np.testing.assert_array_equal(user.labels, theirs)
    assert (user.status == as_truth).all()
    assert sorted(user.document.objects) == [7, 9]
    assert user.document.objects.is_checked(9) == as_truth
    user.undo()
    user.until(lambda: user.idle and user.says == "Taken back.")
    assert not user.labels.any()
    assert not user.status.any()
    assert not user.document.has_labels
    user.redo()
    user.until(lambda: user.idle and user.says == "Made again.")
    np.testing.assert_array_equal(user.labels, theirs)
    assert (user.status == as_truth).all()
    # corrected, and imported again: what is checked stays
    if not as_truth:
        user.press("tool_confirm")
        user.viewer.dims.set_point(0, 2)
        user.click((25, 25))
        status = user.status
        assert (status[theirs == 7] == 1).all()
        importing.choose_file(tmp_path / "theirs.zarr")
        user.until(lambda: bool(user.session.import_question))
        user.press(answer)
        user.until(lambda: user.idle and user.says.startswith("Taken over"))
        np.testing.assert_array_equal(user.status, status)
        np.testing.assert_array_equal(user.labels == 7, theirs == 7)
        np.testing.assert_array_equal(user.labels > 0, theirs > 0)
        for _ in range(3):  # back to the beginning, over the check in between
            user.press("undo")
            user.until(lambda: user.idle)
        assert not user.labels.any()
        assert not user.status.any()
        assert user.document.corrections == 0


def test_the_labels_of_a_folder_with_a_large_stack(start, discs, tmp_path, small_memory):
    home = tmp_path / "images"
    (home / "masks").mkdir(parents=True)
    labels = np.zeros((5, 64, 64), np.uint16)
    labels[:, 20:30, 20:30], labels[:, 40:50, 5:15] = 1, 2
    tifffile.imwrite(home / "img.tif", discs(5), metadata={"axes": "ZYX"}, ome=True)
    tifffile.imwrite(home / "masks" / "img.tif", labels, metadata={"axes": "ZYX"}, ome=True)
    user = start()
    user.panel.workbench.projects.open_folder(home)
    user.until(lambda: user.idle and user.session.segmented)
    user.panel.workbench.importing.choose_folder()
    user.press("import_truth")
    user.until(lambda: user.idle and "taken over" in user.says)
    assert user.says == "Labels of 1 of 1 images taken over, checked."
    np.testing.assert_array_equal(user.labels, labels)


class Looked:
    """Holds the reading of labels at its second piece, until the user has pressed Cancel."""

    def __init__(self, monkeypatch):
        self.parts, self.go, look = 0, threading.Event(), import_core._values

        def held(*arguments):
            self.parts += 1
            if self.parts == 2:
                assert self.go.wait(30)
            return look(*arguments)

        monkeypatch.setattr(import_core, "_values", held)
        monkeypatch.setattr(importing, "_A_WHILE", 0)

    def cancel(self, user):
        user.until(lambda: self.parts == 2 and user.button("import_stop").isVisible())
        assert user.panel.imports.bar.value() > 0
        user.press("import_stop")
        assert user.says == "Cancelling..."
        self.go.set()
        user.until(lambda: not user.panel.workbench.importing.is_busy)
        assert self.parts == 2, "it ends with the piece in progress"
        assert not user.button("import_stop").isVisible()


def test_reading_labels_says_how_far_it_is_and_can_be_cancelled(stacker, tmp_path, monkeypatch):
    user = stacker
    theirs = np.zeros((5, 64, 64), np.uint16)
    theirs[1:4, 20:30, 20:30] = 7
    zarr.create_array(tmp_path / "theirs.zarr", data=theirs, chunks=(1, 64, 64))
    said = []
    user.session.events.message.connect(said.append)
    looked = Looked(monkeypatch)
    user.panel.workbench.importing.choose_file(tmp_path / "theirs.zarr")
    looked.cancel(user)
    assert "Reading theirs.zarr: 8%." in said
    assert user.says == "Cancelled. Nothing was changed."
    assert not user.session.import_question
    # and again, to its end
    user.panel.workbench.importing.choose_file(tmp_path / "theirs.zarr")
    user.until(lambda: bool(user.session.import_question))


@pytest.fixture
def folder_of_stacks(discs, tmp_path):
    """Three stacks, each with the labels of another program; and these labels."""
    home = tmp_path / "images"
    (home / "masks").mkdir(parents=True)
    made = []
    for number in (1, 2, 3):
        labels = np.zeros((5, 64, 64), np.uint16)
        labels[:, 20:30, 20:30], labels[number:, 40:50, 5:15] = 1, 2
        tifffile.imwrite(home / f"img_{number}.tif", discs(5) + number, metadata={"axes": "ZYX"}, ome=True)
        tifffile.imwrite(home / "masks" / f"img_{number}.tif", labels, metadata={"axes": "ZYX"}, ome=True)
        made.append(labels)
    return home, made


def test_the_labels_of_a_folder_of_large_stacks(start, folder_of_stacks, small_memory):
    home, made = folder_of_stacks
    user = start()
    user.panel.workbench.projects.open_folder(home)
    user.until(lambda: user.idle and user.session.segmented)
    user.panel.workbench.importing.choose_folder()
    said = []
    user.session.events.message.connect(said.append)
    user.press("import_truth")
    user.until(lambda: user.idle and "taken over" in user.says)
    assert user.says == "Labels of 3 of 3 images taken over, checked."
    assert any(one.startswith("Importing labels: 2 of 3 images") for one in said)
    np.testing.assert_array_equal(user.labels, made[0])
    user.press("next_image")
    user.until(lambda: user.idle and user.session.checked == 2)
    assert user.document.is_large
    np.testing.assert_array_equal(user.labels, made[1])
    assert (user.status == 1).all()
    user.press("undo")
    user.until(lambda: user.idle and user.says == "Taken back.")
    assert not user.labels.any()
    assert not user.status.any()


def test_the_import_of_a_folder_of_large_stacks_is_cancelled(start, folder_of_stacks, small_memory, monkeypatch):
    home, _ = folder_of_stacks
    user = start()
    user.panel.workbench.projects.open_folder(home)
    user.until(lambda: user.idle and user.session.segmented)
    before = user.labels
    user.panel.workbench.importing.choose_folder()
    looked = Looked(monkeypatch)
    user.press("import_truth")
    looked.cancel(user)
    assert user.says == "Cancelled. Labels of 0 of 3 images taken over, checked."
    np.testing.assert_array_equal(user.labels, before)


def test_a_mask_is_parted_into_its_pieces_across_slices(stacker, tmp_path):
    user = stacker
    mask = np.zeros((5, 64, 64), np.uint8)
    mask[1:4, 20:30, 20:30] = mask[2:, 40:50, 40:50] = 255
    mask[0, 5:8, 50:60] = 255
    zarr.create_array(tmp_path / "mask.zarr", data=mask, chunks=(1, 64, 64))
    user.panel.workbench.importing.choose_file(tmp_path / "mask.zarr")
    user.until(lambda: bool(user.session.import_question))
    assert "its 3 separate pieces become objects" in user.session.import_question
    user.press("import_truth")
    user.until(lambda: user.idle and user.says.startswith("Taken over"))
    np.testing.assert_array_equal(user.labels, ndi.label(mask)[0])
    assert (user.status == 1).all()
    assert sorted(user.document.objects) == [1, 2, 3]


def test_a_new_model_of_a_large_stack_can_be_taken_back(stacker, contrary):
    user = stacker
    user.segment()
    user.teach()
    before, status = user.labels, user.status
    said = []
    user.session.events.message.connect(said.append)
    user.train()
    user.press("use_new")
    user.until(lambda: user.idle and any("Taking over" in one for one in said))
    assert any("Keeping the labels of 'nuclei'" in one for one in said)
    assert not user.labels[status == 0].any()
    assert user.session.model == "nuclei-2"
    assert user.button("back").text() == "Back to nuclei"
    user.press("back")
    user.until(lambda: user.idle and user.session.model == "nuclei")
    assert user.says.endswith("Control-Z takes it back.")
    np.testing.assert_array_equal(user.labels > 0, before > 0)
    np.testing.assert_array_equal(user.status, status)
    assert len(np.unique(user.labels)) == len(np.unique(before))
    assert user.button("back").text() == "Back to nuclei-2", "the way forward is as short"
    user.press("undo")
    user.until(lambda: user.idle and user.says == "Taken back.")
    assert not user.labels[status == 0].any()
    user.press("redo")
    user.until(lambda: user.idle and user.says == "Made again.")
    np.testing.assert_array_equal(user.labels > 0, before > 0)
    user.press("back")
    user.until(lambda: user.idle and user.session.model == "nuclei-2")
    assert not user.labels[status == 0].any()


@pytest.mark.parametrize(("room", "says"), [(3, "Training on 3 of 5 checked slices"), (9, "what you checked")])
def test_a_training_takes_as_many_checked_slices_as_fit(stacker, trainings, monkeypatch, room, says):
    user = stacker
    user.segment()
    user.use_tool("confirm")  # in all five slices
    user.click((12, 12))
    user.use_tool("background")
    user.stroke(np.linspace((60, 30), (60, 40), 4))
    monkeypatch.setattr(document_module, "how_many_fit", lambda *_: room)
    said, taken = [], []
    user.session.events.message.connect(said.append)
    core = learning.iter_fine_tune

    def watched(model, samples, *others, **named):
        slices = np.asarray(user.viewer.layers["img"].data)
        taken.append([int(np.flatnonzero((one.image == slices).all((1, 2)))[0]) for one in samples])
        return (yield from core(model, samples, *others, **named))

    monkeypatch.setattr(learning, "iter_fine_tune", watched)
    user.train()
    assert any(says in one for one in said), said
    assert any(one.startswith("Looking for what is checked: 40%") for one in said), said
    assert taken == [[0, 2, 4] if room == 3 else [0, 1, 2, 3, 4]]


def test_looking_for_what_is_checked_can_be_ended_and_needs_truth(stacker, trainings, monkeypatch):
    user = stacker
    user.segment()
    user.press("train")
    user.until(lambda: user.idle)
    assert user.says.startswith("Nothing is checked yet. Draw about ten objects")
    assert user.session.problem
    user.use_tool("confirm")
    user.click((12, 12))
    user.press("train")
    user.until(lambda: user.idle)
    assert user.says.startswith("No background is checked.")
    # the button ends it before it has begun
    looked = []
    core = collecting.look_for_checked

    def slowly(*arguments):
        for found in core(*arguments):
            looked.append(found)
            assert user.stopping.wait(30)
            yield found

    user.stopping = threading.Event()
    monkeypatch.setattr(collecting, "look_for_checked", slowly)
    user.press("train")
    user.until(lambda: bool(looked))
    assert user.says == "Looking for what is checked. You can go on correcting."
    assert not user.button("train").isEnabled()
    user.press("stop")
    user.stopping.set()
    user.until(lambda: user.idle)
    assert user.says == "Cancelled. Nothing was changed."
    assert len(looked) < 5
    assert not user.session.has_preview
    assert user.button("train").isEnabled()


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
    other.until(lambda: other.idle and other.says == "Taken back.")
    assert not other.labels.any()
    other.press("redo")
    other.until(lambda: other.idle and other.says == "Made again.")
    assert (other.labels[:, 12, 12] > 0).all()


@pytest.fixture
def reopened(stacker, start, monkeypatch):
    """The stack of another day, whose labels are on their way from the disk; and what lets them go on."""
    user = stacker
    user.segment()
    user.press("tool_delete")
    user.click((12, 12))
    known = user.labels, user.status
    image = user.viewer.layers["img"].data
    user.panel.workbench.close()
    user.viewer.close()
    monkeypatch.setattr(documents, "_AT_ONCE", 0)
    go, load = threading.Event(), LabelArrays.load

    def held(arrays, make):
        yield 0.1
        assert go.wait(30)
        return (yield from load(arrays, make))

    monkeypatch.setattr(LabelArrays, "load", held)
    other = start(image)
    other.until(lambda: "Opening your corrections" in other.says)
    yield other, go, known
    go.set()


def test_labels_of_another_day_come_back_while_the_window_is_used(reopened):
    user, go, (labels, status) = reopened
    assert user.button("cancel").isVisible()
    assert not user.button("segment").isEnabled()
    user.viewer.dims.set_point(0, 3)
    user.press("tool_delete")
    assert user.says == "Your corrections are being opened. What needs them can be used as soon as they are there."
    assert user.panel.workbench.document is None
    go.set()
    user.until(lambda: user.idle and user.session.segmented)
    assert "Your corrections are back: 0 checked." in user.says
    np.testing.assert_array_equal(user.labels, labels)
    np.testing.assert_array_equal(user.status, status)
    known, fresh = as_counted(user.document)
    assert known == fresh
    user.press("undo")
    assert (user.labels[:, 12, 12] > 0).all()


def test_opening_is_cancelled_and_made_up_for(reopened):
    user, go, (labels, _) = reopened
    user.press("cancel")
    go.set()
    user.until(lambda: user.idle)
    assert user.says == "Cancelled. Your corrections are on disk as they were: Restore brings them back."
    assert [layer.name for layer in user.viewer.layers] == ["img"]
    user.press("restore")
    user.until(lambda: user.idle and user.session.segmented)
    assert "Your corrections are back" in user.says
    np.testing.assert_array_equal(user.labels, labels)


def test_another_image_while_labels_are_on_their_way(reopened, discs):
    user, go, (labels, _) = reopened
    user.viewer.add_image(discs(), name="other")
    user.choose("image", "other")
    go.set()
    user.until(lambda: user.idle)
    assert [layer.name for layer in user.viewer.layers] == ["img", "other"]
    assert user.panel.workbench.document is None
    user.choose("image", "img")
    user.until(lambda: user.idle and user.session.segmented)
    np.testing.assert_array_equal(user.labels, labels)


def test_closed_while_labels_are_on_their_way(reopened, start):
    user, go, (labels, _) = reopened
    image = user.viewer.layers["img"].data
    user.panel.workbench.close()
    user.viewer.close()
    go.set()
    other = start(image)
    other.until(lambda: other.idle and other.session.segmented)
    assert not other.document.store.read_only
    np.testing.assert_array_equal(other.labels, labels)


def test_labels_that_cannot_be_read_are_told(stacker, start, monkeypatch):
    user = stacker
    user.segment()
    store = user.document.store.path
    image = user.viewer.layers["img"].data
    user.panel.workbench.close()
    user.viewer.close()
    next(file for file in (store / "objects" / "0" / "c").rglob("*") if file.is_file()).write_bytes(b"damaged")
    monkeypatch.setattr(documents, "_AT_ONCE", 0)
    other = start(image)
    other.until(lambda: "cannot be read" in other.says)
    assert "Move that folder away" in other.says
    other.until(lambda: other.idle)


def test_deleted_labels_of_a_large_stack_are_not_lost(stacker):
    user = stacker
    user.segment()
    user.press("tool_delete")
    user.click((12, 12))
    labels, status = user.labels, user.status
    for way_back in ("restore", "segment"):
        user.viewer.layers.remove("img labels")
        user.until(lambda: [layer.name for layer in user.viewer.layers] == ["img"])
        assert user.button("restore").isVisible()
        user.press(way_back)
        user.until(lambda: user.idle and user.session.segmented)
        assert not user.button("restore").isVisible()
        np.testing.assert_array_equal(user.labels > 0, labels > 0)
        np.testing.assert_array_equal(user.status, status)


@pytest.mark.parametrize("at_once", [0, 2**22])
def test_deleted_labels_of_a_large_stack_stay_away_until_they_are_restored(stacker, discs, monkeypatch, at_once):
    monkeypatch.setattr(documents, "_AT_ONCE", at_once)
    user = stacker
    user.segment()
    user.press("tool_confirm")
    user.click((12, 12))
    labels, status = user.labels, user.status
    user.viewer.layers.remove("img labels")
    user.viewer.add_image(discs(), name="other")
    user.choose("image", "other")
    user.choose("image", "img")
    user.choose("axes", "TYX")
    user.choose("axes", "ZYX")
    user.viewer.dims.set_current_step(0, 3)
    for tool in ("draw", "confirm", "background"):
        user.press(f"tool_{tool}")
        user.pause()
        assert "Restore the labels" in user.says
        assert user.idle
    user.until(lambda: "img checked" not in user.viewer.layers)
    assert {layer.name for layer in user.viewer.layers} == {"img", "other"}
    user.press("restore")
    user.until(lambda: user.idle and user.session.segmented)
    np.testing.assert_array_equal(user.labels, labels)
    np.testing.assert_array_equal(user.status, status)


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


class Held:
    """Holds a change in pieces where so many were written, until the user has pressed Cancel."""

    def __init__(self, monkeypatch, document, pieces):
        self.parts, self.go, put = 0, threading.Event(), type(document)._put

        def held(document, *arguments):
            put(document, *arguments)
            self.parts += 1
            if self.parts == pieces:
                assert self.go.wait(30)

        monkeypatch.setattr(type(document), "_put", held)
        self.pieces = pieces

    def cancel(self, user):
        user.until(lambda: self.parts == self.pieces)
        user.press("cancel")
        assert user.says == "Cancelling..."
        self.go.set()
        user.until(lambda: user.idle)
        assert self.parts == self.pieces, "it ends with the piece in progress"


def as_counted(document):
    """Return boxes, sizes and checked voxels of all objects as they are known, and counted anew."""
    fresh = ObjectTable(document.labels, document.status)
    return [{n: (one.box(n), one.size(n), one.is_checked(n)) for n in sorted(one)} for one in (document.objects, fresh)]


def test_cancelled_while_labels_are_taken_over(stacker, discs, start, monkeypatch):
    user = stacker
    user.press("segment")
    user.until(lambda: user.document is not None)
    held = Held(monkeypatch, user.document, 2)
    held.cancel(user)
    document = user.document
    assert user.says.startswith("Cancelled with 40% of it done, which stays and can be taken back with Control-Z.")
    assert user.says.endswith("Segment image takes over the rest.")
    np.testing.assert_array_equal(user.labels[:2] > 0, np.stack([discs() > 500] * 2))
    assert not user.labels[2:].any()
    user.undo()
    user.until(lambda: user.idle and user.says == "Taken back.")
    assert not user.labels.any(), "what stays is a step"
    user.redo()
    user.until(lambda: user.idle and user.says == "Made again.")
    np.testing.assert_array_equal(user.labels[:2] > 0, np.stack([discs() > 500] * 2))
    known, fresh = as_counted(document)
    assert known == fresh
    assert len(known) == 5
    assert document.editable.editable
    # it can be corrected, and closed
    user.press("tool_delete")
    user.viewer.dims.set_point(0, 0)
    user.click((12, 12))
    assert len(document.objects) == 4
    image = user.viewer.layers["img"].data
    user.panel.workbench.close()
    user.viewer.close()
    other = start(image)
    other.until(lambda: other.session.segmented)
    assert not other.labels[2:].any()
    tiles = []
    other.session.events.message.connect(lambda one: tiles.append(one) if "tiles" in one else None)
    other.segment()
    assert not tiles, "what was predicted is not predicted again"
    for plane in other.labels[2:]:
        np.testing.assert_array_equal(plane > 0, discs() > 500)
    assert not other.labels[:2, 12, 12].any()
    known, fresh = as_counted(other.document)
    assert known == fresh
    assert not (other.document.store.path / "prediction.zarr").exists()


@pytest.mark.parametrize(("at", "looked", "written"), [(3, 3, 0), (22, 20, 2)])
def test_little_is_done_once_a_change_is_cancelled(tmp_path, small_memory, monkeypatch, at, looked, written):
    """Counted, for the seconds are those of the machine: a piece at most, whether it is looked at or written."""
    pixels = np.zeros((20, 64, 64), np.uint16)
    (tmp_path / "img.tif").touch()
    store = open_store(identify(pixels, "ZYX", path=tmp_path / "img.tif"))
    document = object_document.ObjectDocument(Image(pixels), "ZYX", "img", "object", store)
    done, stop = {"look": 0, "_put": 0}, threading.Event()

    def counted(owner, name):
        core = getattr(owner, name)

        def act(*arguments):
            done[name] += 1
            if sum(done.values()) == at:
                stop.set()
            return core(*arguments)

        monkeypatch.setattr(owner, name, act)

    counted(filling.Refill, "look")
    counted(type(document), "_put")
    predicted = np.ones((20, 64, 64), np.int32)
    whole = tuple(slice(0, n) for n in pixels.shape)
    for event in changed_in_pieces(document, lambda: document.fill_in_pieces(predicted, whole), "Filling", stop):
        if isinstance(event, MainThread):
            event.run()
    assert done == {"look": looked, "_put": written}
    assert document.filled == written / 20
    assert (document.labels[:written] > 0).all()
    assert not document.labels[written:].any()
    assert as_counted(document)[0] == as_counted(document)[1]
    assert document.undo() == bool(written)
    assert not document.labels.any()
    document.close()
    store.close()


def test_cancelled_while_a_large_stack_is_checked(stacker, monkeypatch):
    user = stacker
    user.segment()
    held = Held(monkeypatch, user.document, 3)
    user.choose("complete_scope", "image")
    user.press("complete")
    held.cancel(user)
    assert user.says.endswith("Complete again checks the rest.")
    assert (user.status[:3] == 1).all()
    assert not user.status[3:].any()
    known, fresh = as_counted(user.document)
    assert known == fresh
    user.press("complete")
    user.until(lambda: user.idle)
    assert (user.status == 1).all()
    for left in (3, 0):
        user.press("undo")
        user.until(lambda: user.idle and user.says == "Taken back.")
        assert (user.status[:left] == 1).all()
        assert not user.status[left:].any()


def test_cancelled_while_it_is_taken_back(stacker, monkeypatch):
    user = stacker
    user.segment()
    labels = user.labels
    held = Held(monkeypatch, user.document, 2)
    user.press("undo")
    held.cancel(user)
    assert user.says == "Cancelled with 40% of it taken back. Control-Z goes on, Control-Shift-Z goes the way it came."
    np.testing.assert_array_equal(user.labels[:3], labels[:3])
    assert not user.labels[3:].any()
    known, fresh = as_counted(user.document)
    assert known == fresh
    user.redo()
    user.until(lambda: user.idle and user.says == "Made again.")
    np.testing.assert_array_equal(user.labels, labels)
    held.parts = 0
    user.press("undo")
    user.until(lambda: user.idle and user.says == "Taken back.")
    assert not user.labels.any(), "its halves are one step again"
    user.press("undo")
    assert user.says == "There is nothing to take back."


def test_cancelled_while_other_labels_are_taken_over(stacker, tmp_path, monkeypatch):
    user = stacker
    user.segment()
    theirs = np.zeros((5, 64, 64), np.uint16)
    theirs[:, 20:30, 20:30] = 7
    theirs[:, 40:50, 5:15] = 9
    zarr.create_array(tmp_path / "theirs.zarr", data=theirs, chunks=(1, 64, 64))
    user.panel.workbench.importing.choose_file(tmp_path / "theirs.zarr")
    user.until(lambda: bool(user.session.import_question))
    held = Held(monkeypatch, user.document, 1)
    user.press("import_truth")
    held.cancel(user)
    assert user.says.startswith("Cancelled with 20% of it done, which stays")
    assert user.says.endswith("Import again takes over the rest.")
    np.testing.assert_array_equal(user.labels[0], theirs[0])
    assert len(np.unique(user.labels[1:])) == 6
    known, fresh = as_counted(user.document)
    assert known == fresh


def test_cancelled_on_the_way_back_to_another_model(stacker, contrary, monkeypatch):
    user = stacker
    user.segment()
    user.teach()
    before, status = user.labels, user.status
    user.train()
    user.press("use_new")
    user.until(lambda: user.idle and user.session.model == "nuclei-2" and "object" in user.says)
    held = Held(monkeypatch, user.document, 2)
    user.press("back")
    held.cancel(user)
    assert user.says.startswith("Cancelled with 40% of it done, which stays")
    assert user.says.endswith("Press Back again to go all the way.")
    assert user.session.model == "nuclei-2"
    user.press("back")
    user.until(lambda: user.idle and user.session.model == "nuclei")
    np.testing.assert_array_equal(user.labels > 0, before > 0)
    np.testing.assert_array_equal(user.status, status)


def test_cancelled_while_labels_are_kept(stacker, contrary, monkeypatch):
    user, go, written = stacker, threading.Event(), []
    user.segment()
    user.teach()
    before = user.labels
    user.train()
    real = versions.iter_keep_version

    def held(*arguments, **named):
        for fraction in (steps := real(*arguments, **named)):
            written.append(fraction)
            if len(written) == 2:
                assert go.wait(30)
            yield fraction
        return steps

    monkeypatch.setattr(versions, "iter_keep_version", held)
    user.press("use_new")
    user.until(lambda: len(written) == 2)
    user.press("cancel")
    go.set()
    user.until(lambda: user.idle)
    assert user.says == "Cancelled. The labels are as they were."
    np.testing.assert_array_equal(user.labels, before)
    assert not list((user.document.store.path / "versions").iterdir())


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
