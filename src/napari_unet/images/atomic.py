"""Files and folders that appear under their name at once, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_unet.errors import ImageError
from napari_unet.images.omezarr import is_zarr

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ensure_writable", "replace_file", "written_at_once"]


@contextmanager
def written_at_once(path: Path, what: str = "The labels") -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename what was written there when the block ends well.

    It has the same suffix, in a hidden folder of its own. A file that is there already is replaced by a file, a zarr by
    a zarr; any other folder stays, with all that is in it. Whatever is raised inside, nothing but what was there before
    is left.

    Raises
    ------
    ImageError
        If it cannot be written there.
    """
    folder = None
    try:
        with _told(path, what):
            _refuse_folder(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(mkdtemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent))
            yield folder / path.name
            _replace(folder / path.name, path, folder / "old")
    finally:
        if folder is not None:
            with suppress(OSError):
                shutil.rmtree(folder)


def ensure_writable(path: Path, what: str = "The labels") -> None:
    """Say now, before hours of work, if something cannot be written to `path`; nothing is left there.

    Raises
    ------
    ImageError
        If it cannot be written there.
    """
    with _told(path, what):
        _refuse_folder(path)
        there = next(folder for folder in path.absolute().parents if folder.exists())
        Path(mkdtemp(prefix=f".{path.name}-", suffix=".tmp", dir=there)).rmdir()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, wait for the disk, and put it in the place of the old one.

    Raises
    ------
    OSError
        If it cannot be written there. What was there before is left.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        file = next((one for one in path.parents if one.is_file()), None)
        why = error.strerror or str(error) if file is None else f"{file} is a file, not a folder"
        raise ImageError(f"{what} cannot be written to {path} ({why}). Choose another folder.") from error


def _refuse_folder(path: Path, *, also_zarr: bool = False) -> None:
    if path.is_dir() and (also_zarr or not is_zarr(path)):
        raise IsADirectoryError(errno.EISDIR, "a folder of that name is there")


def _replace(new: Path, path: Path, aside: Path) -> None:
    _refuse_folder(path, also_zarr=not new.is_dir())
    if not path.is_dir():
        new.replace(path)
        return
    path.rename(aside)  # a folder that is not empty cannot be replaced in one step
    try:
        new.replace(path)
    except OSError:
        aside.rename(path)
        raise
