"""A session that is killed: run as a program by test_crash.py. It forks one process for each session it is asked for.

Reads lines ``FOLDER FIRST`` and answers each with the id of the process that runs the actions from number FIRST on;
that process writes ``begin N`` and ``saved N`` for each. ``wait`` answers when the last process is gone.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from napari_unet.correction import Edit, Journal, identify, open_store, refill
from napari_unet.correction import journal as journal_module
from napari_unet.correction import writer as writer_module

SHAPE = (3, 600, 640)
DEPTH = 10**6  # both sides keep every step, so that they can be compared


def act(number: int, labels: Any, status: Any, journal: Journal) -> None:
    """Do what the user does as the action of that number: the same whoever runs it."""
    rng = np.random.default_rng(number)
    what = rng.choice(["stroke", "undo", "redo", "segment", "all", "walk"], p=[0.57, 0.15, 0.1, 0.05, 0.08, 0.05])
    if what == "undo":
        edit = journal.undo()
        if edit is not None:
            edit.revert(labels, status)
    elif what == "redo":
        edit = journal.redo()
        if edit is not None:
            edit.apply(labels, status)
    elif what == "all":
        change_all(labels, status, journal, rng)
    elif what == "walk":
        take_back_some(labels, status, journal)
    elif what == "segment":
        box = (slice(0, 2), slice(400, 600), slice(400, 640))  # over the corners of four chunks
        edit = refill(labels, status, np.kron(rng.integers(0, 9, (2, 2, 3)), np.ones((1, 100, 80), int)), box)
        edit.apply(labels, status)
        journal.record(edit)
    else:
        z, y, x = rng.integers(0, (3, 540, 580))
        box = (slice(z, z + 1), slice(y, y + 60), slice(x, x + 60))
        after, known = labels[box].copy(), status[box].copy()
        after[0, 5:50, 9:40] = number + 1
        known[0, 5:50, 9:40] = 1
        edit = Edit(box, labels[box].copy(), after, status[box].copy(), known, "stroke", frozenset({number + 1}))
        edit.apply(labels, status)
        journal.record(edit)


def change_all(labels: Any, status: Any, journal: Journal, rng: np.random.Generator) -> None:
    """Change everything as one step, plane by plane."""
    file = journal.begin()
    for z in range(SHAPE[0]):
        box = (slice(z, z + 1), slice(0, SHAPE[1]), slice(0, SHAPE[2]))
        after = labels[box] + int(rng.integers(1, 9))
        edit = Edit(box, labels[box].copy(), after, status[box].copy(), np.ones_like(status[box]), "import")
        file.add(edit)
        edit.apply(labels, status)
    journal.record_large(file, "import")


def take_back_some(labels: Any, status: Any, journal: Journal) -> None:
    """Take back a plane of such a step, as one does who presses Cancel then."""
    large = journal.next_large(back=True)
    if large is not None:
        next(large.edits(back=True)).revert(labels, status)
        journal.walked(1, back=True)


def open_session(folder: Path) -> Any:
    """Open the store of the image in a folder."""
    return open_store(identify(np.zeros(SHAPE, np.uint8), "ZYX", path=folder / "image.tif"))


def run(folder: Path, first: int) -> None:
    store = open_session(folder)
    labels, status = store.load()
    for number in range(first, first + 100_000):
        os.write(1, f"begin {number}\n".encode())
        act(number, labels, status, store.journal)
        while store.saving.waiting:  # a person is slower than the disk
            time.sleep(0.0005)
        os.write(1, f"saved {number}\n".encode())


def main() -> None:
    journal_module.DEPTH = DEPTH
    writer_module._IDLE_SECONDS = 0.005  # so that the arrays, too, are being written when the end comes
    child = 0
    for line in sys.stdin:
        if line.strip() == "wait":
            os.waitpid(child, 0)
            os.write(1, b"gone\n")
            continue
        folder, first = line.rsplit(maxsplit=1)
        child = os.fork()
        if child == 0:
            os.write(1, f"pid {os.getpid()}\n".encode())
            run(Path(folder), int(first))
            os._exit(0)


if __name__ == "__main__":
    unwanted = {"torch", "napari", "qtpy"} & set(sys.modules)
    assert not unwanted, unwanted
    main()
