"""Which of several models knows the objects of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from napari_unet.errors import ModelFileError
from napari_unet.images import fit_colours, has_bright_ground
from napari_unet.models import list_models, load_model, read_spec
from napari_unet.prediction.object_size import iter_surest_look
from napari_unet.prediction.view import viewed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from threading import Event as StopFlag

    from napari_unet.events import Notice
    from napari_unet.models import Model, ModelSpec
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.object_size import Look

__all__ = ["DEFAULT_MODEL", "Suited", "default_model", "is_strange", "iter_find_model", "models_from"]

DEFAULT_MODEL = "nuclei"
_OF_BRIGHT_GROUND = "nuclei-stained"

_BY_CHANCE = 0.6
"""How sure models are of what they take for objects in noise and clutter, about."""
_AT_HOME = 0.7
"""Share of the usual sureness, beyond that by chance, from which on a model knows an image; `benchmarks/suiting.py`
shows how well that parts what is known from what is not."""
_FEWEST = 5
"""Objects that another model must find to be taken: two or three are chance."""
_MOST_COVERED = 0.8
"""Share of a window beyond which what it finds is the ground."""


class Suited(NamedTuple):
    """Which model suits an image.

    Attributes
    ----------
    model : Model
    object_size : float or None
        As from `find_object_size`.
    is_known : bool
        False where the first model is less sure than usual, and no other knows the image: the first is what is left.
    """

    model: Model
    object_size: float | None
    is_known: bool


def default_model(image: Any, axes: str) -> str:
    """Return the name of the shipped model to begin with: `nuclei` takes the ground of stained tissue for objects."""
    canonical = viewed(image, axes)
    grey = fit_colours(canonical, 1) if "S" in axes else canonical
    return _OF_BRIGHT_GROUND if has_bright_ground(grey) else DEFAULT_MODEL


def models_from(first: str) -> Iterator[Model]:
    """Load a model, and then the others of the library of which it is known how sure they usually are.

    Raises
    ------
    ModelFileError
        If the first cannot be loaded; of the others those that cannot are left out.
    """
    yield load_model(first)
    for name, path in list_models().items():
        try:
            if name != first and read_spec(path).usual_sureness is not None:
                yield load_model(name)
        except ModelFileError:
            continue


def is_strange(spec: ModelSpec, look: Look | None) -> bool:
    """Return whether a model is much less sure of what it finds than in images that it knows."""
    return look is not None and _familiarity(spec, look) < _AT_HOME


def iter_find_model(
    image: Any,
    models: Iterable[Model],
    *,
    axes: str | None = None,
    at: Mapping[str, int] | None = None,
    config: PredictConfig | None = None,
    stop: StopFlag | None = None,
) -> Generator[Notice, None, Suited]:
    """Return the first model where it knows the image, else the one that is surest, measured by what is usual for it.

    Each looks at a window at several scales, as for `find_object_size`; the others only where the first is at a loss,
    or finds next to nothing.

    Parameters
    ----------
    image : array
        As for `predict`.
    models : iterable of Model
        One at least; the first is preferred. Those of which it is not known how sure they usually are do not compete.
    axes, at, config, stop
        As for `iter_find_object_size`.
    """
    first: Suited | None = None
    best, most = None, _AT_HOME
    for model in models:
        look = yield from iter_surest_look(image, model, axes=axes, at=at, config=config, stop=stop)
        here = Suited(model, None if look is None else look.object_size(model.spec), True)
        if first is None:
            first = here._replace(is_known=not is_strange(model.spec, look))
            if model.spec.usual_sureness is None or (look is not None and first.is_known):
                return first
            continue
        if look is None or look.objects < _FEWEST or look.covered > _MOST_COVERED:
            continue
        familiarity = _familiarity(model.spec, look)
        if model.spec.usual_sureness is not None and familiarity >= most:
            best, most = here, familiarity
    if first is None:
        raise ValueError("there is no model to choose from")
    return best or first


def _familiarity(spec: ModelSpec, look: Look) -> float:
    """Return how sure a model is, from 0 (by chance) to 1 (as usual); 1 where it is not known what is usual."""
    if spec.usual_sureness is None:
        return 1.0
    return (look.sureness - _BY_CHANCE) / (spec.usual_sureness - _BY_CHANCE)
