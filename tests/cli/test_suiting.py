"""Which model segments a batch where none was named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tifffile

from napari_unet.correction import Edit, identify, open_store
from napari_unet.samples import load_sample

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., Any]


def test_the_model_that_knows_the_first_image_is_taken_for_all(run: Run, tmp_path: Path) -> None:
    nuclei = load_sample("nuclei_2d").image[:128, :128]
    for folder, image in (("bright", nuclei), ("dark", nuclei.max() - nuclei)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tif").write_text("no image")
        tifffile.imwrite(tmp_path / folder / "b.tif", image, metadata={"axes": "YX"})
        tifffile.imwrite(tmp_path / folder / "c.tif", nuclei, metadata={"axes": "YX"})
    out = tmp_path / "out"
    answer = run("predict", tmp_path / "bright", "-o", out, "--device", "cpu")
    assert "'nuclei' is taken for all images. To choose another model: -m" in answer.out
    assert answer.code == 1, "one file is no image"
    assert "a.tif" in answer.err
    document = json.loads(run("predict", tmp_path / "dark", "-o", tmp_path / "out2", "--device", "cpu", "--json").out)
    assert document["model"] == "nuclei-stained"
    assert [len(document[what]) for what in ("files", "failed")] == [2, 1]
    named = run(
        "predict", tmp_path / "dark" / "b.tif", "-m", "nuclei", "-o", out / "named", "--device", "cpu", "--json"
    )
    assert named.json["model"] == "nuclei"


def test_what_was_corrected_decides(run: Run, tmp_path: Path) -> None:
    nuclei = load_sample("nuclei_2d").image[:96, :96]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, nuclei, metadata={"axes": "YX"})
    store = open_store(identify(nuclei, "YX", path=path), kind="cell")
    labels, status = store.load()
    drawn, known = labels.copy(), status.copy()
    drawn[10:30, 10:30], known[10:30, 10:30] = 1, 1
    store.journal.record(Edit((slice(0, 96), slice(0, 96)), labels, drawn, status, known, "stroke", frozenset({1})))
    assert store.close()
    document = run("predict", path, "-o", tmp_path / "out", "--device", "cpu", "--json").json
    assert document["model"] == "cells-phase"
    command = ("predict", path, "-o", tmp_path / "out2", "--device", "cpu", "--ignore-corrections", "--json")
    assert run(*command).json["model"] == "nuclei"


def test_without_any_image_that_can_be_read_it_ends_as_ever(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no image")
    answer = run("predict", tmp_path / "a.tif", "-o", tmp_path / "out")
    assert answer.code == 2
    assert "a.tif" in answer.err
