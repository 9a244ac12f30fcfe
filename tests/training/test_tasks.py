"""What can be trained: classes, classes added later, channels, planes of stacks, flat volumes, other starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_unet import Annotated, ClassSpec, Model, ModelSpec, TrainConfig, fine_tune, predict, train
from napari_unet.errors import ConfigError
from napari_unet.events import StepDone
from napari_unet.training import with_classes
from napari_unet.training.weights import take_weights

MakeSpec = Callable[..., ModelSpec]
MakeModel = Callable[..., Model]
Quick = Callable[..., TrainConfig]
NAMES = ("dark", "bright", "striped")


def textures(count: int, seed: int = 0, known: int = 3) -> list[Annotated]:
    """Return images with squares of three textures on noise; only those of the first `known` are there."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        image, labels = rng.normal(0.4, 0.02, (64, 64)), np.zeros((64, 64), np.uint8)
        for index, (y, x) in enumerate([(4, 4), (4, 36), (36, 4), (36, 36)]):
            kind = 1 + (index + number) % 3
            if kind > known:
                continue
            part = (slice(y, y + 22), slice(x, x + 22))
            labels[part] = kind
            stripes = 0.4 + 0.6 * (np.arange(22) // 2 % 2)
            image[part] = {1: 0.0, 2: 1.0}.get(kind, stripes[None]) + rng.normal(0, 0.02, (22, 22))
        samples.append(Annotated(image, labels, name=f"{number}", intensity_range=((0.0,), (1.0,))))
    return samples


def accuracy(model: Model, samples: list[Annotated]) -> dict[int, float]:
    labels = np.stack([predict(s.image, model).labels for s in samples])
    truth = np.stack([s.labels for s in samples])
    return {int(n): float((labels[truth == n] == n).mean()) for n in np.unique(truth)}


def losses(history: list[Any]) -> list[float]:
    return [event.loss for event in history if isinstance(event, StepDone)]


def test_classes_are_learned_and_one_is_added_in_the_middle(tiny_spec: MakeSpec, quick: Quick) -> None:
    classes = tuple(ClassSpec(name=name, color=f"#0000{n}0") for n, name in enumerate(NAMES, 1))
    spec = tiny_spec(task="semantic", classes=classes[:2], network={"features": (8, 12)})
    first = train(textures(4, known=2), quick(steps=60), spec=spec).model
    known = accuracy(first, textures(2, seed=9, known=2))
    assert min(known.values()) > 0.85, known
    grown = with_classes(first, classes)
    assert grown.spec.classes == classes
    assert [one.name for one in grown.spec.maps] == ["background", *NAMES]
    tuned = fine_tune(grown, textures(4), quick(steps=150)).model
    found = accuracy(tuned, textures(2, seed=9))
    assert min(found.values()) > 0.8, found


def test_added_class_changes_nothing_for_the_known_ones(tiny_model: MakeModel) -> None:
    classes = tuple(ClassSpec(name=name) for name in ("a", "b"))
    model = tiny_model(task="semantic", classes=classes)
    image = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.network(image)
        grown = with_classes(model, [*classes, ClassSpec(name="c")])
        after = grown.network(image)
        moved = with_classes(grown, [ClassSpec(name="c"), ClassSpec(name="b", color="#123456")])
        other = moved.network(image)
    torch.testing.assert_close(after[:, :3], before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other, after[:, [0, 3, 2]], rtol=1e-5, atol=1e-5)
    assert (after.argmax(1) == before.argmax(1)).all(), "the new one is nowhere the most likely yet"
    assert [c.name for c in model.spec.classes] == ["a", "b"], "the model itself stays as it is"


def test_model_of_objects_has_no_classes_to_add(tiny_model: MakeModel) -> None:
    with pytest.raises(ConfigError, match="one kind of object"):
        with_classes(tiny_model(), [ClassSpec(name="a")])


def test_all_channels_are_looked_at(tiny_spec: MakeSpec, quick: Quick, discs: Any, rng: np.random.Generator) -> None:
    # the objects are seen in the second of two channels alone
    def two_channels(seed: int) -> Annotated:
        image, labels = discs((64, 64), 6, count=8, seed=seed)
        both = np.stack([rng.normal(1000, 100, image.shape), image.astype(float)])
        return Annotated(both, (labels > 0).astype(int), axes="CYX", name=f"{seed}")

    spec = tiny_spec(
        task="semantic", classes=(ClassSpec(name="disc"),), channels=("noise", "discs"), network={"features": (6, 8)}
    )
    trained = train([two_channels(n) for n in range(3)], quick(steps=60), spec=spec)
    new = two_channels(50)
    assert (predict(new.image, trained.model, axes="CYX").labels == new.labels).mean() > 0.95


def test_planes_of_a_stack_are_learned_from_a_few_of_them(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Callable[..., list[Annotated]]
) -> None:
    (stack,) = disc_samples(1, (6, 64, 64), 7)
    status = np.zeros(stack.labels.shape, np.uint8)
    status[[1, 4]] = 1
    classes = (stack.labels > 0).astype(int)
    spec = tiny_spec(task="semantic", classes=(ClassSpec(name="ball"),), network={"features": (6, 8)})
    trained = train([Annotated(stack.image, classes, status, axes="ZYX")], quick(steps=60), spec=spec)
    found = predict(stack.image, trained.model, axes="ZYX").labels
    assert (found == classes)[[0, 2, 3, 5]].mean() > 0.95
    assert trained.model.spec.provenance["fields"] == 2


def test_flat_volumes_are_learned(tiny_spec: MakeSpec, quick: Quick, discs: Any) -> None:
    # three slices, far apart: the first level neither pools nor looks along z
    image, labels = discs((12, 48, 48), 6, count=6, seed=3)
    sample = Annotated(image[::4], (labels[::4] > 0).astype(int), axes="ZYX")
    network = {"spatial_dims": 3, "features": (6, 8), "flat_levels": 1}
    spec = tiny_spec(task="semantic", classes=(ClassSpec(name="ball"),), network=network)
    trained = train([sample], quick(steps=50), spec=spec)
    assert np.mean(losses(trained.history)[-5:]) < 0.5 * losses(trained.history)[0]
    assert (predict(sample.image, trained.model, axes="ZYX").labels == sample.labels).mean() > 0.9


# other starts


def test_known_model_with_a_new_output_layer_learns_faster_than_a_blank_one(
    disc_training: Any, quick: Quick, disc_samples: Callable[..., list[Annotated]]
) -> None:
    samples = [Annotated(s.image, (s.labels > 0).astype(int), name=s.name) for s in disc_samples(3)]
    spec = ModelSpec(task="semantic", classes=(ClassSpec(name="disc"),), network=disc_training.model.spec.network)
    config = quick(steps=12, learning_rate=2e-3)
    blank, started = (train(samples, config, spec=spec, start=start) for start in (None, disc_training.model))
    assert np.mean(losses(started.history)[-4:]) < 0.7 * np.mean(losses(blank.history)[-4:])


def test_weights_of_one_channel_serve_several(tiny_model: MakeModel) -> None:
    one, three = tiny_model(), tiny_model(channels=("r", "g", "b"))
    take_weights(three.network, one.network)
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            three.network.contracting[0](image.expand(-1, 3, -1, -1)), one.network.contracting[0](image)
        )


def test_weights_of_planes_serve_volumes(tiny_model: MakeModel) -> None:
    planes = tiny_model()
    volumes = tiny_model(network={"spatial_dims": 3, "features": (4, 4, 4), "flat_levels": 1})
    take_weights(volumes.network, planes.network)
    volumes.network.load_state_dict(
        {**volumes.network.state_dict(), "head.weight": planes.network.head.weight[..., None],
         "head.bias": planes.network.head.bias}
    )  # fmt: skip
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        expected = planes.network(image)
        result = volumes.network(image[:, :, None].expand(-1, -1, 4, -1, -1))
    torch.testing.assert_close(result, expected[:, :, None].expand(-1, -1, 4, -1, -1), rtol=1e-4, atol=1e-5)
