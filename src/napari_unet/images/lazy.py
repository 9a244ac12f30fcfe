"""Arrays that are read where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["lazy_array"]

_BLOCK = 1024


def lazy_array(source: Any, chunks: Sequence[int]) -> Any:
    """Return a dask array over something that can be sliced.

    Parameters
    ----------
    source : array
        Anything with `shape`, `dtype` and slicing; only what a slice needs is read.
    chunks : sequence of int
        As it is stored. Small ones are taken together along Y and X, so that an image of a million tiles has not a
        million tasks.
    """
    import dask.array as da

    plane = len(source.shape) - 2 - (source.shape[-1] <= 4)  # colours come after X
    grown = [
        min(n, chunk * max(1, _BLOCK // chunk)) if axis >= plane else chunk
        for axis, (n, chunk) in enumerate(zip(source.shape, chunks, strict=True))
    ]
    # without a name dask would read all of it to make one up
    return da.from_array(source, chunks=tuple(max(1, n) for n in grown), name=False, lock=False)  # type: ignore[no-untyped-call]
