"""What changes all of a large stack: how long it takes, how soon Cancel is heard, what the way back takes on the disk.

    python benchmarks/large_steps.py [--shape 60 2048 2048] [--folder /where/it/is/written]

A real store on a real disk, and a prediction on disk too; no window. Cancel is asked for at several places of the
work, as the button does, and timed until the labels can be corrected again. Seconds are those of the clock, and behind
them those of the thread itself, for what else runs on the machine does not count there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import dask.array as da
import numpy as np
import zarr
from napari.layers import Image

from napari_unet.correction import identify, open_store
from napari_unet.gui import held
from napari_unet.gui.in_pieces import changed_in_pieces
from napari_unet.gui.jobs import MainThread
from napari_unet.gui.object_document import ObjectDocument

_SIDE, _DEPTH, _RADIUS = 24, 10, 9


def make_labels(path: Path, shape: tuple[int, int, int]) -> zarr.Array:
    """Write balls on a grid, each with a number of its own."""
    array = zarr.create_array(path, shape=shape, chunks=(1, 512, 512), dtype=np.int32)
    rows, columns = np.indices(shape[1:])
    near = ((rows % _SIDE - _SIDE // 2) ** 2 + (columns % _SIDE - _SIDE // 2) ** 2) <= _RADIUS**2
    across = -(-shape[2] // _SIDE)
    place = rows // _SIDE * across + columns // _SIDE + 1
    for z in range(shape[0]):
        array[z] = np.where(near, place + z // _DEPTH * (int(place.max()) + 1), 0)
    return array


def now() -> np.ndarray:
    """Return the time of the clock, and that of this thread."""
    return np.array([time.perf_counter(), time.thread_time()])


def run(document: ObjectDocument, change, cancel_at: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run a change as its job does; return its seconds, those from Cancel to its end, and the longest step."""
    stop, longest, asked = threading.Event(), np.zeros(2), None

    def watched():
        nonlocal longest, asked
        last = now()
        for fraction in change():
            longest, last = np.maximum(longest, now() - last), now()
            if cancel_at is not None and asked is None and fraction >= cancel_at:
                asked = last
                stop.set()
            yield fraction

    begun = now()
    for event in changed_in_pieces(document, watched, "Changing", stop):
        if isinstance(event, MainThread):
            event.run()
    end = now()
    return end - begun, end - (end if asked is None else asked), longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(60, 2048, 2048))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    shape = tuple(given.shape)
    held.fits = lambda _: False  # whatever the memory of this machine is
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        os.environ["NAPARI_UNET_HOME"] = str(folder / "user")
        predicted = make_labels(folder / "predicted.zarr", shape)
        pixels = da.zeros(shape, dtype=np.uint16, chunks=(1, *shape[1:]))
        (folder / "image.tif").touch()
        store = open_store(identify(pixels, "ZYX", path=folder / "image.tif"))
        layer = Image(pixels, name="image", contrast_limits=(0, 1))
        document = ObjectDocument(layer, "ZYX", "image", "object", store)
        whole = tuple(slice(0, n) for n in shape)

        def tell(what: str, seconds: np.ndarray, cancelled: np.ndarray, longest: np.ndarray) -> None:
            heard = "   after Cancel {:5.2f} ({:.2f})".format(*cancelled) if cancelled.any() else ""
            print(
                "{:<32}{:6.1f} ({:.1f})   longest step {:5.2f} ({:.2f})".format(what, *seconds, *longest) + heard,
                flush=True,
            )

        print(f"{' x '.join(map(str, shape))} voxels, {int(predicted[-1].max())} objects")
        for at in (0.2, 0.55, 0.75, 0.95):
            tell(f"taken over up to {at:.0%}", *run(document, lambda: document.fill_in_pieces(predicted, whole), at))
            tell("  taken back", *run(document, lambda: document.walk_in_pieces(back=True)))
        tell("taken over", *run(document, lambda: document.fill_in_pieces(predicted, whole)))
        print(f"on the disk for the way back: {document.kept_bytes / 1e6:.1f} MB")
        begun = time.perf_counter()
        store.wait(600)
        print(f"in the arrays after {time.perf_counter() - begun:.1f} s more")
        tell("taken over again", *run(document, lambda: document.fill_in_pieces(predicted, whole)))
        print(f"on the disk for the way back: {document.kept_bytes / 1e6:.1f} MB")
        tell("taken back up to 50%", *run(document, lambda: document.walk_in_pieces(back=True), 0.5))
        tell("image is complete up to 50%", *run(document, lambda: document.complete_in_pieces(whole), 0.5))
        store.close()


if __name__ == "__main__":
    main()
