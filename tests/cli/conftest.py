"""What tests of the command line get: a way to run it, folders of images, model files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import tifffile

from napari_unet import Model, NetworkSpec, Trained, cli, save_model
from napari_unet.images import write_labels

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong; nothing else may be there."""
        assert self.code == 2, self.err
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("Error: ")
        return line

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["napari-unet", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def folders(tmp_path: Path, discs: Any) -> tuple[Path, Path]:
    """Return a folder of two images of discs and one of their labels."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    for number, name in enumerate(("a", "b")):
        image, truth = discs((64, 64), 5, count=8, seed=number)
        tifffile.imwrite(images / f"{name}.tif", image)
        write_labels(labels / f"{name}.tif", truth, "YX")
    return images, labels


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models that are trained from scratch be tiny."""

    class Tiny(NetworkSpec):
        features: tuple[int, ...] = (2, 2)

    monkeypatch.setattr("napari_unet.models.NetworkSpec", Tiny)


@pytest.fixture
def discs_file(disc_training: Trained, tmp_path: Path) -> Path:
    return save_model(disc_training.model, tmp_path / "discs")


@pytest.fixture
def tiny_file(tiny_model: Callable[..., Model], tmp_path: Path) -> Path:
    return save_model(tiny_model(), tmp_path / "tiny")
