"""The records of the journal: one change each, with its length and checksum, so that a torn one is recognised."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import Blosc  # type: ignore[import-untyped]

from napari_unet.correction.edits import Edit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Kind", "Record", "decode_edit", "encode_edit", "encode_large", "encode_step", "is_whole", "read_records"]

_HEADER = struct.Struct("<4sIQQI")
"""Magic, kind, number, length of the payload, checksum of the payload; the checksum of these follows."""

_CHECK = struct.Struct("<I")
_MAGIC = b"NUJ1"
_SLAB = 2**28
"""Bytes compressed at once; the compressor takes less than 2 GiB."""


class Kind(IntEnum):
    """What a record tells."""

    EDIT = 0
    UNDO = 1
    REDO = 2
    LARGE = 3


@dataclass(frozen=True)
class Record:
    """One record as it stands in a file.

    Attributes
    ----------
    kind : Kind
    number : int
        Records count from 1, without gaps.
    about : dict
        Of an edit: ``box``, ``what``, ``corrected``, ``decided``, ...; of a large one: ``file``, ``places``, ``what``,
        ``decided``; of a step: ``of``, the number of its edit, and where that is a large one ``parts``.
    start, stop : int
        Bytes in the file.
    """

    kind: Kind
    number: int
    about: dict[str, Any]
    start: int
    stop: int


def encode_edit(number: int, edit: Edit, when: float) -> bytes:
    """Return the record of an edit."""
    same_labels = np.array_equal(edit.labels_before, edit.labels_after)
    same_status = np.array_equal(edit.status_before, edit.status_after)
    arrays = [edit.labels_before, *([] if same_labels else [edit.labels_after])]
    arrays += [edit.status_before, *([] if same_status else [edit.status_after])]
    packed = [_compress(array) for array in arrays]
    about = {
        "box": [[int(s.start), int(s.stop)] for s in edit.box],
        "what": edit.what,
        "corrected": sorted(map(int, edit.corrected)),
        "decided": list(map(int, edit.decided)),
        "dtype": edit.labels_before.dtype.str,
        "same_labels": same_labels,
        "same_status": same_status,
        "slabs": [[len(slab) for slab in slabs] for slabs in packed],
        "when": when,
    }
    return _frame(Kind.EDIT, number, about, b"".join(slab for slabs in packed for slab in slabs))


def encode_large(
    number: int, file: str, places: Sequence[tuple[int, int]], what: str, decided: Iterable[int], when: float
) -> bytes:
    """Return the record of an edit whose parts are in a file of their own."""
    about = {
        "file": file,
        "places": list(places),
        "what": what,
        "corrected": [],
        "decided": list(decided),
        "when": when,
    }
    return _frame(Kind.LARGE, number, about, b"")


def encode_step(kind: Kind, number: int, of: int, parts: tuple[int, int] | None, when: float) -> bytes:
    """Return the record of an undo or redo of the edit number `of`; of a large one of some of its parts."""
    about = {"of": of, "when": when} if parts is None else {"of": of, "parts": parts, "when": when}
    return _frame(kind, number, about, b"")


def is_whole(data: bytes) -> bool:
    """Return whether these are the bytes of a record, none of them damaged."""
    if len(data) < _HEADER.size + _CHECK.size:
        return False
    magic, _, _, length, check = _HEADER.unpack_from(data)
    payload = memoryview(data)[_HEADER.size + _CHECK.size :]
    return bool(magic == _MAGIC and len(payload) == length and zlib.crc32(payload) == check)


def decode_edit(data: bytes) -> Edit:
    """Return the edit of a whole record."""
    payload = memoryview(data)[_HEADER.size + _CHECK.size :]
    about, rest = _split(payload)
    box = tuple(slice(start, stop) for start, stop in about["box"])
    shape = tuple(s.stop - s.start for s in box)
    parts = []
    for slabs in about["slabs"]:
        pieces = []
        for length in slabs:
            pieces.append(Blosc().decode(rest[:length]))
            rest = rest[length:]
        parts.append(b"".join(pieces))
    queue = iter(parts)
    dtype = np.dtype(about["dtype"])
    labels_before = np.frombuffer(next(queue), dtype).reshape(shape)
    labels_after = labels_before if about["same_labels"] else np.frombuffer(next(queue), dtype).reshape(shape)
    status_before = np.frombuffer(next(queue), np.uint8).reshape(shape)
    status_after = status_before if about["same_status"] else np.frombuffer(next(queue), np.uint8).reshape(shape)
    corrected = frozenset(about["corrected"])
    return Edit(box, labels_before, labels_after, status_before, status_after, about["what"], corrected)


def read_records(path: Path) -> Iterator[Record]:
    """Walk the records of a file up to its end or to the first that is torn or damaged."""
    start = 0
    with path.open("rb") as file:
        while True:
            head = file.read(_HEADER.size + _CHECK.size)
            if len(head) < _HEADER.size + _CHECK.size:
                return
            magic, kind, number, length, check = _HEADER.unpack_from(head)
            sound = magic == _MAGIC and _CHECK.unpack_from(head, _HEADER.size)[0] == zlib.crc32(head[: _HEADER.size])
            payload = file.read(length) if sound else b""
            if not sound or len(payload) < length or zlib.crc32(payload) != check:
                return
            stop = start + len(head) + length
            yield Record(Kind(kind), number, _split(memoryview(payload))[0], start, stop)
            start = stop


def _frame(kind: Kind, number: int, about: dict[str, Any], rest: bytes) -> bytes:
    text = json.dumps(about).encode()
    payload = _CHECK.pack(len(text)) + text + rest
    head = _HEADER.pack(_MAGIC, kind, number, len(payload), zlib.crc32(payload))
    return head + _CHECK.pack(zlib.crc32(head)) + payload


def _split(payload: memoryview) -> tuple[dict[str, Any], memoryview]:
    (length,) = _CHECK.unpack_from(payload)
    text, rest = payload[_CHECK.size : _CHECK.size + length], payload[_CHECK.size + length :]
    return json.loads(bytes(text)), rest


def _compress(array: NDArray[Any]) -> list[bytes]:
    """Return the bytes of an array, compressed in slabs."""
    flat = np.ascontiguousarray(array).reshape(-1)
    blosc = Blosc(cname="zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
    per_slab = _SLAB // flat.itemsize
    return [bytes(blosc.encode(flat[at : at + per_slab])) for at in range(0, flat.size, per_slab)]
