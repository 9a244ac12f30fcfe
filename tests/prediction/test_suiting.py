"""Which model is taken for an image, and whether it is told that none knows such images."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_unet import Model, PredictConfig, Trained, inverted, load_model
from napari_unet.errors import PredictionError
from napari_unet.generators import drained
from napari_unet.models import list_models
from napari_unet.prediction import default_model, is_strange, iter_find_model, iter_surest_look
from napari_unet.samples import load_sample, sample_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ON_CPU = PredictConfig(device="cpu", precision="float32")


def stamped(model: Model, usual_sureness: float | None) -> Model:
    """Return a model of which it is known how sure it usually is."""
    return Model(model.network, model.spec.model_copy(update={"usual_sureness": usual_sureness}))


@pytest.fixture
def known(disc_training: Trained, discs: Callable[..., Any]) -> Model:
    """Return a model of bright discs that knows how sure it is of them."""
    look = drained(iter_surest_look(discs((128, 128), 5, seed=5)[0], disc_training.model, config=ON_CPU))
    assert look is not None
    assert look.objects > 10
    assert 0.1 < look.covered < 0.5
    return stamped(disc_training.model, look.sureness)


def choose(image: Any, *models: Model) -> Any:
    return drained(iter_find_model(image, models, axes="YX", config=ON_CPU))


def test_the_first_model_is_taken_where_it_knows_the_image(known: Model, discs: Callable[..., Any]) -> None:
    def models() -> Iterator[Model]:
        yield known
        pytest.fail("nobody asks for another")

    for radius in (5, 20):
        image, _ = discs((256, 256), radius, count=20)
        suited = drained(iter_find_model(image, models(), axes="YX", config=ON_CPU))
        assert suited.model is known
        assert suited.is_known
        assert suited.object_size == (None if radius == 5 else pytest.approx(40, rel=0.15))


def test_another_is_taken_where_it_knows_the_image_and_the_first_does_not(
    known: Model, discs: Callable[..., Any]
) -> None:
    bright = discs((160, 160), 5, count=9)[0].astype(int)
    dark = inverted(known)
    assert choose(3000 - bright, known, dark).model is dark
    assert choose(bright, dark, known).model is known
    # one that cannot tell how sure it usually is does not compete
    assert choose(3000 - bright, known, stamped(dark, None)).model is known
    # but is taken where it comes first
    suited = choose(bright, stamped(dark, None), known)
    assert suited.model.spec.usual_sureness is None
    assert suited.is_known


def test_it_is_told_where_no_model_knows_the_image(known: Model, discs: Callable[..., Any]) -> None:
    image, _ = discs((128, 128), 5)
    careful = stamped(known, 1.0)  # usually it is surer
    suited = choose(image, careful, inverted(careful))
    assert suited.model is careful
    assert not suited.is_known
    assert is_strange(careful.spec, drained(iter_surest_look(image, careful, axes="YX", config=ON_CPU)))


def test_nothing_is_told_where_there_is_next_to_nothing(known: Model, discs: Callable[..., Any]) -> None:
    for image in (discs((96, 96), 5, count=1)[0], np.zeros((64, 64)), np.ones((1, 1))):
        suited = choose(image, known, inverted(known))
        assert suited.model is known
        assert suited.is_known
        assert not is_strange(known.spec, drained(iter_surest_look(image, known, axes="YX", config=ON_CPU)))


@pytest.mark.parametrize("name", sample_names())
def test_the_models_that_come_along_know_what_they_are_for(name: str) -> None:
    sample = load_sample(name)
    shipped = [load_model(one) for one in ("nuclei", *(one for one in list_models() if one != "nuclei"))]
    assert len(shipped) > 2
    assert all(one.spec.usual_sureness is not None for one in shipped)
    for order in (shipped, shipped[::-1]):
        suited = drained(iter_find_model(sample.image, order, axes=sample.axes, config=ON_CPU))
        assert suited.model.spec.name == "nuclei"
        assert suited.is_known


def test_it_can_be_stopped(known: Model, discs: Callable[..., Any]) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(PredictionError):
        drained(iter_find_model(discs((64, 64), 5)[0], [known], config=ON_CPU, stop=stop))


@pytest.mark.parametrize("store", [np.asarray, da.from_array, zarr.array])
@pytest.mark.parametrize("axes", ["YX", "YXS", "CYX", "TZYXS"])
def test_the_ground_tells_which_model_comes_first(store: Callable[[Any], Any], axes: str) -> None:
    nuclei = load_sample("nuclei_2d").image
    shape = tuple({"Y": 288, "X": 288, "S": 3}.get(letter, 2) for letter in axes)
    place = tuple(slice(None) if letter in "YX" else None for letter in axes)
    for image, name in ((nuclei, "nuclei"), (nuclei.max() - nuclei, "nuclei-stained")):
        assert default_model(store(np.array(np.broadcast_to(image[place], shape))), axes) == name
