"""Which layer, and which channel of it, feeds each input of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.gui.layers import image_layers, is_usable_image, label_shape
from napari_unet.gui.opening import channel_name
from napari_unet.gui.origin import misplaced, origin_of
from napari_unet.images import fit_colours, from_canonical, label_axes, to_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari.layers import Image

    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import ModelSpec

__all__ = ["Inputs", "lazy"]

_IN_MEMORY = 2**28
"""Channels of several layers with fewer bytes together are put side by side in memory."""


@dataclass(frozen=True)
class _Source:
    layer: Image
    axes: str
    channel: int | None
    is_grey: bool = False


class Inputs:
    """Maps the inputs of a model to channels of layers.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._chosen: dict[tuple[int, str], str] = {}

    def are_shown(self, spec: ModelSpec | None) -> bool:
        """Return whether there is anything to choose: the model has several inputs, or the image several channels."""
        axes = self._workbench.session.axes
        return spec is not None and bool(axes) and (spec.in_channels > 1 or "C" in axes or "S" in axes)

    def offers(self, spec: ModelSpec) -> list[str]:
        """Return the channels that can be chosen, in words: of colours also their mean, where one input is all."""
        return list(self._sources(spec))

    def names(self) -> tuple[str, ...]:
        """Return the names of the channels of the image, each another; empty where it has one alone."""
        image, axes = self._workbench.image, self._workbench.session.axes
        if image is None or not {"C", "S"} & set(axes):
            return ()
        return tuple(_channel_names(image, axes))

    def of(self, spec: ModelSpec) -> list[str]:
        """Return what feeds each input, in words; empty for one that nothing is left for."""
        offers = self.offers(spec)
        result = dict.fromkeys(spec.channels, "")
        # what was chosen, then by name, then what is left in the order of the layers
        rules: tuple[Callable[[str, str], bool], ...] = (
            lambda name, one: self._chosen.get((id(self._workbench.image), name)) == one,
            lambda name, one: name.casefold() in one.casefold(),
            lambda name, one: True,
        )
        for fits in rules:
            for name in spec.channels:
                free = (one for one in offers if one not in result.values() and fits(name, one))
                result[name] = result[name] or next(free, "")
        return list(result.values())

    def choose(self, name: str, offer: str) -> None:
        """Feed the input of that name from now on by what was offered in these words."""
        self._chosen[id(self._workbench.image), name] = offer
        self._workbench.inputs_changed()

    def pixels(self, spec: ModelSpec) -> tuple[Any, str] | None:
        """Return what the model shall see, channels first, with its axes; None where it is the image as it is.

        An input that nothing is left for is left out: whoever predicts says that channels are missing.
        """
        if not self.are_shown(spec):
            return None
        sources = self._sources(spec)
        parts = [_channel(sources[one]) for one in self.of(spec) if one]
        axes = label_axes(self._workbench.session.axes)
        return (_side_by_side(parts), f"C{axes}") if parts else None

    def channels_in_files(self, spec: ModelSpec) -> tuple[str, ...] | None:
        """Return which channel of a file feeds each input, as a batch takes them; None: all of them in their order."""
        sources, image = self._sources(spec), self._workbench.image
        if self.are_shown(spec):
            feeding = [sources[one] for one in self.of(spec) if one]
            if any(one.is_grey for one in feeding):
                return None
        else:  # the image as it is, which may be a channel of its file
            feeding = [] if image is None else [_Source(image, self._workbench.session.axes, None)]
        numbers = [one.channel if one.channel is not None else origin_of(one.layer).channel for one in feeding]
        known = [str(number) for number in numbers if number is not None]
        return tuple(known) if known and len(known) == len(numbers) else None

    def _sources(self, spec: ModelSpec) -> Mapping[str, _Source]:
        """Return the channels of the image, and those of others that are as large, by words."""
        bench, image = self._workbench, self._workbench.image
        if image is None or not bench.session.axes:
            return {}
        axes, shape = bench.session.axes, label_shape(image, bench.session.axes)
        sources = _sources_of(image, axes, with_grey=spec.in_channels == 1)
        for layer in image_layers(bench.viewer.layers):
            if layer is image or is_usable_image(layer) is not None:
                continue
            own = origin_of(layer).axes
            if misplaced(own) is None and (label_axes(own), label_shape(layer, own)) == (label_axes(axes), shape):
                sources |= _sources_of(layer, own, with_grey=spec.in_channels == 1)
        return sources


def _sources_of(layer: Image, axes: str, *, with_grey: bool) -> dict[str, _Source]:
    letter = next((one for one in "CS" if one in axes), None)
    if letter is None:
        return {layer.name: _Source(layer, axes, None)}
    grey = {f"{layer.name}: grey": _Source(layer, axes, None, is_grey=True)} if letter == "S" and with_grey else {}
    names = enumerate(_channel_names(layer, axes))
    return grey | {f"{layer.name}: {name}": _Source(layer, axes, n) for n, name in names}


def _channel_names(layer: Image, axes: str) -> list[str]:
    """Return a name for each channel of an image, without transparency; those of one name get their number too."""
    known, axis = origin_of(layer), axes.index("S" if "S" in axes else "C")
    count = layer.data.shape[axis] if "C" in axes else min(3, layer.data.shape[axis])
    names = [channel_name(known, n) for n in range(count)]
    return names if len(set(names)) == count else [f"{name} ({n})" for n, name in enumerate(names, start=1)]


def _channel(source: _Source) -> Any:
    """Return one channel in the axes of the labels."""
    data = source.layer.data
    if source.is_grey:
        grey = fit_colours(to_canonical(data, source.axes), 1)[:, 0]
        return from_canonical(grey, label_axes(source.axes))
    if source.channel is None:
        return data
    if not isinstance(data, np.ndarray):
        data = lazy(data)
    return data[tuple(source.channel if letter in "CS" else slice(None) for letter in source.axes)]


def _side_by_side(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0][None]
    if all(isinstance(one, np.ndarray) for one in parts) and sum(one.nbytes for one in parts) < _IN_MEMORY:
        return np.stack(parts)
    import dask.array as da

    return da.stack([lazy(one) for one in parts])  # type: ignore[no-untyped-call]


def lazy(data: Any) -> Any:
    """Return an array as one of dask; it is read where it is asked for."""
    import dask.array as da

    # without a name dask would read all of it to make one up
    return data if isinstance(data, da.Array) else da.from_array(data, name=False)  # type: ignore[no-untyped-call]
