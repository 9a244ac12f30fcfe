"""Files and folders that appear under their name at once, or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_unet.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["replace_file", "written_at_once"]


@contextmanager
def written_at_once(path: Path, what: str = "The labels") -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename what was written there when the block ends well.

    It has the same suffix, in a hidden folder of its own; a file or folder that is there already is replaced. Whatever
    is raised inside, nothing but what was there before is left.

    Raises
    ------
    ImageError
        If it cannot be written there.
    """
    folder = None
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(mkdtemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent))
            yield folder / path.name
            _replace(folder / path.name, path, folder / "old")
        except OSError as error:
            raise ImageError(
                f"{what} cannot be written to {path} ({error.strerror or error}). Choose another folder."
            ) from error
    finally:
        if folder is not None:
            with suppress(OSError):
                shutil.rmtree(folder)


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


def _replace(new: Path, path: Path, aside: Path) -> None:
    if not path.is_dir():
        new.replace(path)
        return
    path.rename(aside)  # a folder that is not empty cannot be replaced in one step
    try:
        new.replace(path)
    except OSError:
        aside.rename(path)
        raise
