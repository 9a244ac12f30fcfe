"""Where labels and maps go while an image is predicted, and how far it has come: what was killed goes on there."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import PredictionError
from napari_unet.images import label_axes
from napari_unet.prediction.device import free_memory
from napari_unet.prediction.maps import MapStore
from napari_unet.prediction.resuming import InMemory, State, partial_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from napari_unet.network import UNet
    from napari_unet.prediction.components import Box
    from napari_unet.prediction.runner import TileRunner

__all__ = ["Workspace", "fingerprint", "finished", "free_memory_of_host", "map_bytes"]

_IN_MEMORY = 2**26
"""Maps with more bytes are kept on disk while labels are written to disk: 64 MiB, so that memory stays flat."""

_CHUNKS = {2: (1024, 1024), 3: (32, 256, 256)}
_ATTRIBUTE = "napari-unet"
_BLOCK = 2**22
"""Voxels that labels are made of at once."""


class FrameLabels:
    """Labels of one frame (``(Z)YX``) within an array of the image's axes."""

    def __init__(self, array: Any, axes: str, target: Sequence[int], shape: Sequence[int]) -> None:
        self._array, self._axes, self._target = array, axes, tuple(target)
        self.shape = tuple(shape)

    def _parts(self, box: Box) -> tuple[slice, ...]:
        fixed = tuple(slice(i, i + 1) for i in self._target)
        by_letter = dict(zip("TZYX", (*fixed, *box), strict=True))
        return tuple(by_letter[letter] for letter in self._axes)

    def __getitem__(self, box: Box) -> np.ndarray[Any, Any]:
        order = [self._axes.index(letter) for letter in "TZYX" if letter in self._axes]
        block = np.asarray(self._array[self._parts(box)]).transpose(order)
        return block.reshape([s.stop - s.start for s in box])

    def __setitem__(self, box: Box, values: Any) -> None:
        letters = [letter for letter in "TZYX" if letter in self._axes]
        lengths = dict(zip("TZYX", (*(1 for _ in self._target), *(s.stop - s.start for s in box)), strict=True))
        block = np.broadcast_to(values, [s.stop - s.start for s in box]).reshape([lengths[k] for k in letters])
        self._array[self._parts(box)] = block.transpose([letters.index(letter) for letter in self._axes])


class Workspace:
    """Holds what a prediction writes: labels in memory, or in a zarr array that grows block by block.

    Parameters
    ----------
    out : None, InMemory, path or zarr array
        Where the labels go. None: in memory. A path is made under a temporary name and renamed in the end.
    axes : str
        Axes of the image.
    shape : tuple of int
        ``TZYX`` of the result.
    dims : int
        Axes that the model sees at once.
    key : str
        What the result depends on: work that was done with another key is not taken up.
    """

    def __init__(self, out: Any, axes: str, shape: tuple[int, ...], dims: int, key: str) -> None:
        self.state = State()
        self.shape, self._dims, self._key = shape, dims, key
        self._axes = label_axes(axes)
        self._final: Path | None = None
        self._folder: Path | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._memory = out if isinstance(out, InMemory) else None
        self.labels: Any
        if self._memory is not None and self._memory.key == key:
            self.state, self.labels = self._memory.state, self._memory.labels
        elif out is None or self._memory is not None:
            if 4 * prod(shape) > free_memory_of_host() // 2:
                raise PredictionError(
                    f"The labels would take {4 * prod(shape) / 1e9:.0f} GB of memory, more than half of what is free. "
                    "Write them to disk: out='labels.zarr'."
                )
            self.labels = np.zeros(shape, np.int32)
            if self._memory is not None:
                self._memory.begin(key, self.labels)
                self.state = self._memory.state
        elif isinstance(out, str | Path):
            self._final = Path(out)
            self._folder = partial_folder(self._final)
            self._take_up()
            self.labels = self._open(self._folder / "labels")
        else:
            self.labels = _checked(out, self._shape_of_image())
            self._folder = _beside(out)
            self._take_up()

    def frame(self, target: Sequence[int]) -> Any:
        """Return where the labels of a frame go."""
        if isinstance(self.labels, np.ndarray):
            return self.labels[tuple(target)]
        return FrameLabels(self.labels, self._axes, target, self.shape[len(target) :])

    @property
    def block(self) -> tuple[int, ...]:
        """Voxels that labels are made of at once: everything in memory, whole chunks on disk."""
        if isinstance(self.labels, np.ndarray):
            size = self.shape[-self._dims :]
            return size if prod(size) <= 4 * _BLOCK else _grown(_CHUNKS[self._dims], 4 * _BLOCK)
        chunks = dict(zip(self._axes, self.labels.chunks, strict=True))
        return _grown([chunks.get(letter, 1) for letter in "TZYX"][-self._dims :], _BLOCK)

    def maps(self, count: int, runner: TileRunner, *, keep: bool) -> MapStore:
        """Return where the maps of one frame go; `keep` those that the caller wants in memory."""
        if self._memory is not None and self._memory.store is not None:
            return self._memory.store
        shape = [s.stop - s.start for s in runner.region]
        limit = free_memory_of_host() // 4 if isinstance(self.labels, np.ndarray) else _IN_MEMORY
        in_memory = keep or 4 * count * prod(shape) <= limit
        first = runner.tiles[0]
        period = [n - 2 * over for n, over in zip(first.core, runner.layout.overlap, strict=True)]
        offset = [s.start - start for s, start in zip(runner.region, first.start, strict=True)]
        store = MapStore(count, shape, None if in_memory else self._scratch() / "maps", period, offset)
        if self._memory is not None and in_memory:
            self._memory.store = store
        return store

    def all_maps(self, count: int) -> NDArray[np.float32]:
        """Return where the maps of all frames go; where they are new, nothing is left out that another run has done."""
        if self._memory is not None and self._memory.maps is not None:
            return self._memory.maps
        self.save(frame=0, batch=0, highest=0, in_windows=0)
        maps = np.zeros((self.shape[0], count, *self.shape[1:]), np.float32)
        if self._memory is not None:
            self._memory.maps = maps
        return maps

    def keeps(self, store: MapStore) -> bool:
        """Return whether a later run finds these maps of the frame in progress."""
        if self._memory is not None:
            return store is self._memory.store
        return self._folder is not None and store.folder is not None

    def save(self, **progress: Any) -> None:
        """Note how far it has come."""
        for name, value in progress.items():
            setattr(self.state, name, value)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / "state.tmp"
            temporary.write_text(json.dumps({"key": self._key, **asdict(self.state)}))
            temporary.replace(self._folder / "state.json")

    def finish(self, provenance: dict[str, Any]) -> Any:
        """Put the labels under their final name and clear away the rest; return the labels."""
        if self._final is not None and self._folder is not None:
            import zarr

            self.labels.attrs[_ATTRIBUTE] = {"key": self._key, "provenance": provenance}
            old = self._folder / "old"
            if self._final.exists():
                self._final.replace(old)
            (self._folder / "labels").replace(self._final)
            self.labels = zarr.open_array(self._final, mode="r+")
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._memory is not None:
            self._memory.begin("", None)
        self.close()
        return self.labels

    def close(self) -> None:
        """Remove temporary files; what a later run can take up stays."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def _scratch(self) -> Path:
        if self._folder is not None:
            return self._folder
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="napari-unet-")
        return Path(self._temporary.name)

    def _take_up(self) -> None:
        """Go on where another run with the same key was ended; clear away what is there of any other."""
        if self._folder is None:
            return
        try:
            found: dict[str, Any] = json.loads((self._folder / "state.json").read_text())
            if found.pop("key") == self._key:
                found |= {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
                self.state = State(**found)
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, path: Path) -> Any:
        import zarr

        if path.exists():
            return zarr.open_array(path, mode="r+")
        chunk = dict(zip("TZYX", (1,) * (4 - self._dims) + _CHUNKS[self._dims], strict=True))
        shape = self._shape_of_image()
        return zarr.create_array(
            path,
            shape=shape,
            chunks=tuple(min(chunk[letter], n) for letter, n in zip(self._axes, shape, strict=True)),
            dtype=np.int32,
            fill_value=0,
            dimension_names=[letter.lower() for letter in self._axes],
        )

    def _shape_of_image(self) -> tuple[int, ...]:
        lengths = dict(zip("TZYX", self.shape, strict=True))
        return tuple(lengths[letter] for letter in self._axes)


def finished(out: Any, key: str) -> tuple[Any, dict[str, Any]] | None:
    """Return the labels under a path and their provenance, where a prediction with this key has finished them."""
    if not isinstance(out, str | Path):
        return None
    import zarr

    try:
        labels = zarr.open_array(out, mode="r+")
        found: Any = labels.attrs[_ATTRIBUTE]
        return (labels, found["provenance"]) if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fingerprint(image: Any, network: UNet, *settings: Any) -> str:
    """Return a hash of a model, its settings and samples of an image (``TCZYX``)."""
    digest = hashlib.sha256(repr((image.shape, str(image.dtype), settings)).encode())
    tensors: Mapping[str, torch.Tensor] = network.state_dict()
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    frames, _, slices, height, width = image.shape
    for step in range(8):
        t, z, y, x = (step * (n - 1) // 7 for n in (frames, slices, height, width))
        digest.update(np.ascontiguousarray(image[t, :, z, y : y + 64, x : x + 64]).tobytes())
    return digest.hexdigest()


def map_bytes(count: int, voxels: int) -> int:
    """Return the bytes on disk that maps of one frame take, where they do not fit into memory."""
    return 2 * count * voxels


def free_memory_of_host() -> int:
    """Return the bytes that are available to this process."""
    import torch

    return free_memory(torch.device("cpu"))


def _grown(chunk: Sequence[int], voxels: int) -> tuple[int, ...]:
    """Return a multiple of a chunk with up to so many voxels."""
    grown = list(chunk)
    while prod(grown) * 2 <= voxels:
        axis = min(range(len(grown)), key=lambda a: grown[a])
        grown[axis] *= 2
    return tuple(grown)


def _checked(out: Any, shape: tuple[int, ...]) -> Any:
    if tuple(out.shape) != shape or np.dtype(out.dtype).kind not in "iu" or np.dtype(out.dtype).itemsize < 4:
        raise PredictionError(
            f"The labels have the shape {shape}, as 32-bit integers; what they shall be written to has the shape "
            f"{tuple(out.shape)} and holds {out.dtype}. Make one that fits."
        )
    return out


def _beside(array: Any) -> Path | None:
    """Return the folder beside a zarr array on disk in which its progress is noted; None where it lies elsewhere."""
    root = getattr(getattr(array, "store", None), "root", None)
    if root is None:
        return None
    path = Path(root) / getattr(array, "path", "")
    return path.with_name(f".{path.name}.partial")
