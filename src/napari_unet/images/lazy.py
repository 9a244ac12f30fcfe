"""Arrays that are read where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError, UNetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["lazy_array"]

_BLOCK = 1024


def lazy_array(source: Any, chunks: Sequence[int], name: str = "The image") -> Any:
    """Return a dask array over something that can be sliced.

    Parameters
    ----------
    source : array
        Anything with `shape`, `dtype` and slicing; only what a slice needs is read.
    chunks : sequence of int
        As it is stored. Small ones are taken together along Y and X, so that an image of a million tiles has not a
        million tasks.
    name : str
        What the message calls it when a part of it cannot be read.
    """
    import dask.array as da

    plane = len(source.shape) - 2 - (source.shape[-1] <= 4)  # colours come after X
    grown = [
        min(n, chunk * max(1, _BLOCK // chunk)) if axis >= plane else chunk
        for axis, (n, chunk) in enumerate(zip(source.shape, chunks, strict=True))
    ]
    # without a name dask would read all of it to make one up
    return da.from_array(  # type: ignore[no-untyped-call]
        _Guarded(source, name), chunks=tuple(max(1, n) for n in grown), name=False, lock=False
    )


class _Guarded:
    """An array whose reading fails with a message that a user understands."""

    def __init__(self, source: Any, name: str) -> None:
        self._source, self._name = source, name
        self.shape, self.dtype, self.ndim = tuple(source.shape), source.dtype, len(source.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        try:
            return np.asarray(self._source[key])
        except (MemoryError, UNetError):
            raise
        except Exception as error:  # a damaged file can make its decoder raise almost anything
            raise ImageError(
                f"{self._name} cannot be read ({error}). Copy it again, or save it again as TIFF in Fiji."
            ) from error
