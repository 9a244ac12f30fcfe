"""Many images: where results go, corrections that win, files that belong together."""

from __future__ import annotations

import importlib
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_unet import PredictConfig, average_precision, predict
from napari_unet.correction import refill
from napari_unet.errors import ConfigError
from napari_unet.events import FileDone, FileFailed, FileSkipped, FileStarted, TileDone
from napari_unet.images import image_files, open_image, read_image, read_provenance
from napari_unet.prediction import Batch, BatchConfig, Checked, Corrections, iter_segment_files, label_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet import Model

job_module = importlib.import_module("napari_unet.prediction.image_job")
workspace_module = importlib.import_module("napari_unet.prediction.workspace")
CPU = PredictConfig(device="cpu", min_size=0)


def drain(*arguments: Any, **others: Any) -> tuple[list[Any], Batch]:
    steps, events = iter_segment_files(*arguments, **{"config": CPU, **others}), []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as done:
            return events, done.value


@pytest.fixture
def files(tmp_path: Path, rng: np.random.Generator) -> list[Path]:
    paths = [tmp_path / "images" / f"{name}.tif" for name in "abc"]
    paths[0].parent.mkdir()
    for path in paths:
        tifffile.imwrite(path, rng.integers(0, 255, (30, 40), np.uint8))
    return paths


# where results go


given_paths = st.tuples(
    st.sampled_from(["d", "e/d", "f.zarr/d"]),
    st.sampled_from(["a", "A", "a-png", "b"]),
    st.sampled_from(["tif", "png", "ome.tif"]),
)


@given(
    st.lists(given_paths, min_size=1, max_size=8, unique=True),
    st.sampled_from([None, Path("out")]),
    st.sampled_from(["ome-tiff", "ome-zarr"]),
)
def test_no_two_images_share_a_label_file(images: list[tuple[str, str, str]], folder: Path | None, kind: Any) -> None:
    paths = [Path(where) / f"{name}.{suffix}" for where, name, suffix in images]
    targets = label_paths(paths, folder, kind)
    assert len({str(target).casefold() for target in targets}) == len(paths)
    assert {target.parent for target in targets} <= ({folder} if folder else {path.parent for path in paths})
    assert not set(targets) & set(paths)


def test_names_are_told_apart_by_as_little_as_needed() -> None:
    def names(*paths: str) -> list[str]:
        return [target.name for target in label_paths([Path(path) for path in paths], Path("out"))]

    assert names("x/a.tif", "x/b.ome.tif") == ["a.tif", "b.tif"]
    assert names("x/a.tif", "x/a.png", "x/b.png") == ["a-tif.tif", "a-png.tif", "b.tif"]
    assert names("day1/a.tif", "day2/a.tif") == ["day1-a.tif", "day2-a.tif"]
    assert names("p.zarr/A/1/0", "p.zarr/B/1/0") == ["A-1-0.tif", "B-1-0.tif"]
    assert [t.name for t in label_paths([Path("day1/a.tif"), Path("day2/a.tif")], None)] == ["a-labels.ome.tif"] * 2
    assert names("x/a.tif", "x/A.tif", "x/b.tif") == ["a.tif", "A-2.tif", "b.tif"]
    with pytest.raises(ConfigError, match=r"a\.tif is given twice"):
        names("x/a.tif", "x/a.tif")


# what happens


def test_events_tell_the_whole_story(files: list[Path], tiny_model: Callable[..., Model], tmp_path: Path) -> None:
    files[1].write_text("hello")
    batch = BatchConfig(output=tmp_path / "out")
    events, result = drain(files, tiny_model(), batch=batch)
    told = [event for event in events if not isinstance(event, TileDone)]
    assert [type(event) for event in told] == [FileStarted, FileDone, FileStarted, FileFailed, FileStarted, FileDone]
    assert [event.number for event in told if isinstance(event, FileStarted)] == [1, 2, 3]
    assert any(isinstance(event, TileDone) for event in events)
    assert (len(result.done), len(result.skipped), len(result.failed), result.stopped) == (2, 0, 1, False)
    expected = predict(read_image(files[0]).data, tiny_model(), axes="YX", config=CPU).labels
    np.testing.assert_array_equal(read_image(result.done[0].labels).data, expected)
    assert result.done[0].found == expected.max()
    assert result.tables == []


def test_stop_ends_it_between_tiles_without_a_failure(files: list[Path], tiny_model: Callable[..., Model]) -> None:
    stop = Event()
    steps = iter_segment_files(files, tiny_model(), config=CPU, stop=stop)
    done: Any = None
    while done is None:
        try:
            if isinstance(next(steps), FileDone):
                stop.set()
        except StopIteration as end:
            done = end.value
    assert (len(done.done), done.failed, done.stopped) == (1, [], True)
    stop.set()
    events, result = drain(files, tiny_model(), stop=stop)
    assert (events, result.stopped) == ([], True)


def test_file_that_goes_wrong_in_between_does_not_stop_the_others(
    files: list[Path], tiny_model: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = job_module.iter_predict, [MemoryError(), OSError("the disk is gone")]

    def fail_twice(*arguments: Any, **others: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return real(*arguments, **others)

    monkeypatch.setattr(job_module, "iter_predict", fail_twice)
    _, result = drain(files, tiny_model())
    assert [one.message for one in result.failed] == ["it needs more memory than there is", "the disk is gone"]
    assert [one.path for one in result.done] == files[2:]


def test_setting_that_is_wrong_for_all_is_told_once(files: list[Path], tiny_model: Callable[..., Model]) -> None:
    with pytest.raises(ConfigError, match="'tpu' cannot be used here"):
        list(iter_segment_files(files, tiny_model(), config=PredictConfig(device="tpu")))


def corrections(checked: dict[Path, Checked]) -> Corrections:
    def merge(one: Checked, predicted: Any, _: str) -> Any:
        box = tuple(slice(0, n) for n in one.labels.shape)
        return refill(one.labels, one.status, predicted, box).labels_after

    return Corrections(of=lambda image, axes: checked.get(image.path), merge=merge)


def test_checked_voxels_win_and_new_corrections_are_noticed(
    files: list[Path], tiny_model: Callable[..., Model], tmp_path: Path
) -> None:
    labels = np.zeros((30, 40), np.int32)
    labels[3:12, 3:12], labels[20:25, 20:30] = 7, 9
    status = (labels > 0).astype(np.uint8)
    status[25:, :] = 2
    known = {files[0]: Checked(labels, status, frozenset({9}))}
    batch = BatchConfig(output=tmp_path / "out", measure=True)
    _, result = drain(files, tiny_model(), batch=batch, corrections=corrections(known))
    written = read_image(tmp_path / "out" / "a.tif").data
    kept = status > 0
    np.testing.assert_array_equal(written[kept], labels[kept])
    states = dict(zip(result.tables[0]["id"].tolist(), result.tables[0]["state"].tolist(), strict=True))
    assert (states[7], states[9]) == ("checked", "corrected")
    assert set(result.tables[1]["state"].tolist()) <= {"predicted"}

    events, again = drain(files, tiny_model(), batch=batch, corrections=corrections(known))
    assert [type(event) for event in events if not isinstance(event, FileStarted)] == [FileSkipped] * 3
    for before, after in zip(result.tables, again.tables, strict=True):
        assert all(np.array_equal(after[name], column) for name, column in before.items())
    known[files[0]].labels[4, 4] = 9
    _, third = drain(files, tiny_model(), batch=batch, corrections=corrections(known))
    assert [one.path for one in third.done] == files[:1]
    known[files[1]] = Checked(labels[:5], status[:5])
    _, fourth = drain(files, tiny_model(), batch=batch, corrections=corrections(known))
    (failure,) = fourth.failed
    assert "The corrections of b.tif have the shape (5, 40), its labels (30, 40)" in failure.message


def test_stack_measured_again_from_its_file_gives_the_same(
    tmp_path: Path, tiny_model: Callable[..., Model], rng: np.random.Generator
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rng.integers(0, 255, (5, 30, 40), np.uint8), imagej=True, metadata={"axes": "TYX"})
    batch = BatchConfig(measure=True, axes="XYT", format="ome-zarr")
    (first, second) = (drain([path], tiny_model(), batch=batch)[1] for _ in range(2))
    assert (len(first.done), len(second.skipped)) == (1, 1)
    assert len(first.tables[0]["id"])
    for name, column in first.tables[0].items():
        np.testing.assert_array_equal(second.tables[0][name], column)


def test_link_to_an_image_is_segmented_once_and_a_link_to_nothing_stops_nothing(
    files: list[Path], tiny_model: Callable[..., Model], tmp_path: Path
) -> None:
    folder = files[0].parent
    (folder / "z-link.tif").symlink_to(files[0])
    (folder / "y-nowhere.tif").symlink_to(folder / "missing.tif")
    (folder / "x-loop.tif").symlink_to(folder / "x-loop.tif")
    _, result = drain(image_files([folder]), tiny_model(), batch=BatchConfig(output=tmp_path / "out"))
    assert [one.path for one in result.done] == files
    assert [one.why for one in result.skipped] == ["the same file as a.tif"]
    assert [one.message.partition(" ")[0] for one in result.failed] == ["There", "There"]


def test_files_of_one_image_are_segmented_once(tmp_path: Path, tiny_model: Callable[..., Model]) -> None:
    paths = [tmp_path / f"z{n}.ome.tif" for n in range(2)]
    entries = "".join(
        f'<TiffData FirstZ="{n}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="z{n}.ome.tif">urn:uuid:{n:032d}</UUID></TiffData>'
        for n in range(2)
    )
    for n, path in enumerate(paths):
        document = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{n:032d}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="20" SizeY="16" '
            'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{entries}</Pixels></Image></OME>"
        )
        tifffile.imwrite(path, np.full((16, 20), n, np.uint8), description=document, metadata=None)
    _, result = drain(paths, tiny_model())
    assert [one.path for one in result.done] == paths[:1]
    assert [one.why for one in result.skipped] == ["part of z0.ome.tif"]
    assert read_image(result.done[0].labels).shape == (2, 16, 20)


# large images


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels and maps go to disk, however small, and labels are made in small blocks."""
    monkeypatch.setattr(job_module, "_IN_MEMORY", 0)
    monkeypatch.setattr(workspace_module, "_IN_MEMORY", 0)
    monkeypatch.setattr(workspace_module, "_CHUNKS", {2: (16, 24), 3: (4, 8, 8)})
    monkeypatch.setattr(workspace_module, "_BLOCK", 600)


def stack(path: Path, rng: np.random.Generator) -> Path:
    tifffile.imwrite(path, rng.integers(0, 255, (4, 30, 40), np.uint8), imagej=True, metadata={"axes": "TYX"})
    return path


SMALL_TILES = PredictConfig(device="cpu", min_size=0, precision="float32", tile=(56, 56), batch=1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["ome-tiff", "ome-zarr"])
def test_large_labels_are_made_on_disk_and_are_the_same(
    tmp_path: Path,
    tiny_model: Callable[..., Model],
    rng: np.random.Generator,
    request: pytest.FixtureRequest,
    kind: Any,
) -> None:
    path, model = stack(tmp_path / "a.tif", rng), tiny_model()
    known = {path: Checked(np.full((4, 30, 40), 500, np.int32), np.zeros((4, 30, 40), np.uint8))}
    known[path].status[:, 3:9, 3:9] = 1
    results = []
    for name in ("memory", "disk"):
        into = BatchConfig(output=tmp_path / name, format=kind, measure=True, rois=True)
        _, result = drain([path], model, batch=into, config=SMALL_TILES, corrections=corrections(known))
        results.append((read_image(result.done[0].labels).data, result.tables[0], result.done[0].found))
        request.getfixturevalue("everything_is_large")
    (labels, table, found), (large, large_table, large_found) = results
    assert names(tmp_path / "memory") == names(tmp_path / "disk")
    assert found == large_found
    assert average_precision(labels, large, 0.99) == 1
    assert (large[:, 3:9, 3:9] == 500).all()
    np.testing.assert_array_equal(np.sort(table["area_px"]), np.sort(large_table["area_px"]))


@pytest.mark.usefixtures("everything_is_large")
def test_large_image_goes_on_where_it_was_killed(
    tmp_path: Path, tiny_model: Callable[..., Model], rng: np.random.Generator
) -> None:
    path, model, out = stack(tmp_path / "a.tif", rng), tiny_model(), BatchConfig(output=tmp_path / "out")
    _, whole = drain([path], model, batch=BatchConfig(output=tmp_path / "whole"), config=SMALL_TILES)
    steps = iter_segment_files([path], model, config=SMALL_TILES, batch=out)
    tiles = (event for event in steps if isinstance(event, TileDone))
    last = next(event for event in tiles if event.done >= 0.8 * event.total)
    steps.close()
    assert not (tmp_path / "out" / "a.tif").exists()
    events, result = drain([path], model, batch=out, config=SMALL_TILES)
    again = [event.done for event in events if isinstance(event, TileDone)]
    assert again[0] >= last.done
    assert len(again) <= 0.2 * last.total + 1
    np.testing.assert_array_equal(read_image(result.done[0].labels).data, read_image(whole.done[0].labels).data)
    assert names(tmp_path / "out") == ["a.tif"]


@pytest.mark.usefixtures("everything_is_large")
def test_place_that_cannot_be_written_is_found_before_a_large_image_is_segmented(
    tmp_path: Path, tiny_model: Callable[..., Model], rng: np.random.Generator
) -> None:
    (tmp_path / "file").touch()
    paths = [stack(tmp_path / f"{name}.tif", rng) for name in "ab"]
    events = []
    with pytest.raises(ConfigError, match=r"file is a file, not a folder.*Choose another folder"):
        events.extend(iter_segment_files(paths, tiny_model(), config=CPU, batch=BatchConfig(output=tmp_path / "file")))
    assert [type(event) for event in events] == [FileStarted]
    (tmp_path / "a-labels.ome.tif").mkdir()
    events, result = drain(paths, tiny_model())
    assert [one.path for one in result.done] == paths[1:], "the place of one image says nothing of that of another"
    assert "a-labels.ome.tif is there already, and was not made by segmenting" in result.failed[0].message
    assert not any(isinstance(event, TileDone) for event in events[:2])


def test_labels_of_another_image_of_the_same_name_are_not_replaced(
    tmp_path: Path, tiny_model: Callable[..., Model], rng: np.random.Generator
) -> None:
    days, out = [tmp_path / "days" / day / "a.tif" for day in ("day1", "day2")], tmp_path / "out"
    for path in days:
        path.parent.mkdir(parents=True)
        tifffile.imwrite(path, rng.integers(0, 255, (30, 40), np.uint8))
    batch = BatchConfig(output=out)
    model = tiny_model()
    _, first = drain(days[:1], model, batch=batch)
    before = (out / "a.tif").read_bytes()
    _, second = drain(days[1:], model, batch=batch)
    message = second.failed[0].message
    assert "holds the labels of another image of this name" in message
    assert str(Path("day1", "a.tif")) in message
    assert (out / "a.tif").read_bytes() == before
    assert read_provenance(first.done[0].labels)["source"] == "../days/day1/a.tif"
    # the folder of both is moved, and the image was made anew: it is the same one
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("days", "out"):
        (tmp_path / name).rename(moved / name)
    here = moved / "days" / "day1" / "a.tif"
    tifffile.imwrite(here, rng.integers(0, 255, (31, 40), np.uint8))
    _, third = drain([here], model, batch=BatchConfig(output=moved / "out"))
    assert [one.path for one in third.done] == [here]
    # nobody misses labels of an image that is gone
    here.unlink()
    other = moved / "days" / "day2" / "a.tif"
    _, fourth = drain([other], model, batch=BatchConfig(output=moved / "out"))
    assert [one.path for one in fourth.done] == [other]


@pytest.mark.parametrize("kind", ["ome-tiff", "ome-zarr"])
def test_labels_of_a_movie_tell_the_time_between_frames(
    tmp_path: Path, tiny_model: Callable[..., Model], rng: np.random.Generator, kind: Any
) -> None:
    told = {"axes": "TYX", "TimeIncrement": 5, "TimeIncrementUnit": "min", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "movie.ome.tif", rng.integers(0, 255, (2, 30, 40), np.uint8), metadata=told)
    _, result = drain([tmp_path / "movie.ome.tif"], tiny_model(), batch=BatchConfig(format=kind))
    labels = open_image(result.done[0].labels)
    assert (labels.axes, labels.frame_interval_s, labels.pixel_size_um) == ("TYX", 300, {"Y": 0.5, "X": 0.5})
