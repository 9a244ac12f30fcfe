"""Training, end to end: it learns from what is checked, from nothing else, and the same way each time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from napari_unet import (
    Annotated,
    ClassSpec,
    Model,
    ModelSpec,
    PredictConfig,
    Status,
    TrainConfig,
    Trained,
    average_precision,
    fine_tune,
    iter_fine_tune,
    iter_train,
    predict,
    save_model,
    train,
)
from napari_unet.errors import ConfigError, ImageError, TrainingError
from napari_unet.events import Event, Finishing, Notice, Score, StepDone, Validated
from napari_unet.models import load_model_file
from napari_unet.training.giving_back import give_back
from napari_unet.training.patches import PatchReader
from napari_unet.training.sampling import make_fields
from napari_unet.training.validation import MIN_HELD_OUT_OBJECTS

MakeSpec = Callable[..., ModelSpec]
Samples = Callable[..., list[Annotated]]
Quick = Callable[..., TrainConfig]
CLASSES = {"task": "semantic", "classes": (ClassSpec(name="disc"),)}


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def drain(steps: Any) -> tuple[list[Event], Trained]:
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as done:
            return events, done.value


def losses(trained: Trained) -> list[float]:
    return [event.loss for event in trained.history if isinstance(event, StepDone)]


# it learns


def test_network_learns_to_find_discs(disc_training: Trained, discs: Any) -> None:
    course = losses(disc_training)
    assert len(course) == 120
    assert np.mean(course[-10:]) < 0.4 * np.mean(course[:5])
    fresh = Model(disc_training.model.spec.build_network().eval(), disc_training.model.spec)
    new = [discs((96, 96), 5, count=25, seed=900 + n) for n in range(3)]
    before, after = (
        np.mean([average_precision(labels, predict(image, model).labels) for image, labels in new])
        for model in (fresh, disc_training.model)
    )
    assert before < 0.2
    assert after > 0.7


def test_model_says_what_it_was_trained_on(disc_training: Trained) -> None:
    spec = disc_training.model.spec
    assert spec.object_diameter_px == pytest.approx(10, rel=0.1)
    assert spec.provenance["steps"] == 120
    assert spec.provenance["fields"] == 6
    assert spec.provenance["config"]["seed"] == 0
    assert spec.provenance["software"].startswith("napari-unet")
    assert not disc_training.model.network.training
    assert all(p.requires_grad for p in disc_training.model.network.parameters())


def test_classes_are_learned(tiny_spec: MakeSpec, quick: Quick, discs: Any) -> None:
    pictures = [discs((64, 64), 6, count=8, seed=n) for n in range(4)]
    samples = [Annotated(image, (labels > 0).astype(int), name=f"{n}") for n, (image, labels) in enumerate(pictures)]
    trained = train(samples, quick(steps=60), spec=tiny_spec(**CLASSES, network={"features": (6, 8)}))
    assert np.mean(losses(trained)[-5:]) < 0.5 * losses(trained)[0]
    image, labels = discs((64, 64), 6, count=8, seed=50)
    assert (predict(image, trained.model).labels == (labels > 0)).mean() > 0.95


def test_volumes_are_learned(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    spec = tiny_spec(network={"spatial_dims": 3, "features": (4, 6)})
    trained = train(disc_samples(2, (10, 40, 40), 4), quick(steps=30), spec=spec)
    assert np.mean(losses(trained)[-5:]) < 0.85 * np.mean(losses(trained)[:3])
    assert predict(np.zeros((5, 20, 20)), trained.model, axes="ZYX").labels.shape == (5, 20, 20)


def test_channels_of_the_samples_make_the_model_if_none_is_described(quick: Quick, rng: np.random.Generator) -> None:
    labels = np.zeros((40, 40), int)
    labels[10:20, 10:20] = 1
    trained = train([Annotated(rng.random((3, 40, 40)), labels, axes="CYX")], quick(steps=1, batch=1))
    assert trained.model.spec.channels == ("channel 0", "channel 1", "channel 2")


def test_damaged_pixels_do_not_spoil_the_training(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    (sample,) = disc_samples(1)
    image = sample.image.astype(np.float32)
    image[::7, ::5] = np.nan
    image[3, 3] = np.inf
    trained = train([Annotated(image, sample.labels)], quick(), spec=tiny_spec())
    assert np.isfinite(losses(trained)).all()
    assert all(torch.isfinite(tensor).all() for tensor in weights(trained.model).values())


# the same each time


def test_same_seed_gives_the_same_weights(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    spec = tiny_spec(network={"features": (4, 6), "dropout": 0.3})
    results = []
    for seed in (1, 1, 2):
        torch.rand(3)  # what others draw does not matter
        np.random.rand(3)
        before = torch.random.get_rng_state()
        results.append(weights(train(disc_samples(2), quick(seed=seed), spec=spec).model))
        assert torch.equal(torch.random.get_rng_state(), before), "and they are not disturbed"
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_what_is_kept_is_a_running_average_that_starts_fast(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples
) -> None:
    spec = tiny_spec()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = spec.build_network().head.weight
    last, average = (
        train(disc_samples(1), quick(steps=1, ema=ema), spec=spec).model.network.head.weight for ema in (0.0, 0.995)
    )
    assert not torch.allclose(last, start)
    torch.testing.assert_close(average, 0.1 * start + 0.9 * last)


def test_threads_are_given_back(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    before = torch.get_num_threads()
    steps = iter_train(disc_samples(1), quick(threads=2), spec=tiny_spec())
    next(steps)
    assert torch.get_num_threads() == before, "between two steps, when others run"


# only from what is checked


def corners(sample: Annotated) -> np.ndarray[Any, Any]:
    status = np.zeros(sample.labels.shape, np.uint8)
    status[:40, :40] = Status.CHECKED
    return status


def test_labels_of_unchecked_voxels_have_no_say(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, rng: np.random.Generator
) -> None:
    (sample,) = disc_samples(1)
    status = corners(sample)
    classes = (sample.labels > 0).astype(int)
    garbage = np.where(status == Status.CHECKED, classes, rng.integers(0, 200, classes.shape))
    one, two = (
        weights(train([Annotated(sample.image, x, status)], quick(), spec=tiny_spec(**CLASSES)).model)
        for x in (classes, garbage)
    )
    assert same(one, two)


def test_predicted_objects_far_from_checked_ones_have_no_say(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, rng: np.random.Generator
) -> None:
    (sample,) = disc_samples(1)
    status = corners(sample)
    labels = np.where(status == Status.CHECKED, sample.labels, 0)
    garbage = labels.copy()
    garbage[44:, :] = 1000 + rng.integers(0, 5, garbage[44:].shape)
    one, two = (
        weights(train([Annotated(sample.image, x, status)], quick(), spec=tiny_spec()).model) for x in (labels, garbage)
    )
    assert same(one, two)


def test_ignored_voxels_have_no_say(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    (sample,) = disc_samples(1)
    status = np.full(sample.labels.shape, Status.CHECKED)
    status[:, 50:] = Status.IGNORE
    classes = (sample.labels > 0).astype(int)
    debris = classes.copy()
    debris[:, 50:] = 1 - debris[:, 50:]
    one, two = (
        weights(train([Annotated(sample.image, x, status)], quick(), spec=tiny_spec(**CLASSES)).model)
        for x in (classes, debris)
    )
    assert same(one, two)


def test_samples_are_not_changed(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    (sample,) = disc_samples(1)
    image, labels = sample.image.copy(), sample.labels.copy()
    train([sample], quick(), spec=tiny_spec())
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.labels, labels)


# steps, stopping, validation


def test_events_tell_the_course(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    events, trained = drain(iter_train(disc_samples(1), quick(steps=4), spec=tiny_spec()))
    assert events == [*trained.history, Finishing()]
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [event.step for event in steps] == [1, 2, 3, 4]
    assert [event.fraction for event in steps] == [0.25, 0.5, 0.75, 1.0]
    assert steps[-1].seconds_left == 0
    for event in steps:
        assert set(event.parts) == {"foreground", "overlap", "distance"}
        assert event.loss == pytest.approx(sum(event.parts.values()))
    assert not trained.stopped
    assert trained.score is None
    assert trained.paired is None


def test_stop_ends_it_before_another_step(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    stop = threading.Event()
    steps = iter_train(disc_samples(1), quick(steps=1000), spec=tiny_spec(), stop=stop)
    next(steps)
    stop.set()
    events, trained = drain(steps)
    assert events == [Finishing()]
    assert trained.stopped
    assert trained.model.spec.provenance["steps"] == 1


def test_minutes_are_a_budget_too(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    _, trained = drain(iter_train(disc_samples(1), quick(steps=None, minutes=1e-5), spec=tiny_spec()))
    assert len(losses(trained)) == 1


def test_few_objects_end_a_training_before_its_minutes(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples
) -> None:
    sample = disc_samples(1)[0]
    status = np.where(np.isin(sample.labels, (0, 3, 5)), 1, 0).astype(np.uint8)  # two of the twelve
    few = Annotated(sample.image, sample.labels, status, name=sample.name)
    begun = train([sample], quick(steps=1), spec=tiny_spec()).model
    events, trained = drain(iter_fine_tune(begun, [few], quick(steps=None, minutes=60, epochs=7)))
    # of four patches a quarter lies where nothing is known, and three of ten of the others around background
    assert len(losses(trained)) == round(7 * 2 / (4 * 0.75 * 0.7))
    assert [event.kind for event in events if isinstance(event, Notice)] == ["epochs"]
    assert "each of 2 checked objects was seen 7 times" in events[-2].message
    steps = [event for event in events if isinstance(event, StepDone)]
    assert steps[-1].fraction == 1
    assert [step.seconds_left < 3600 for step in steps] == [True] * len(steps)
    # steps that were asked for are taken
    _, trained = drain(iter_fine_tune(begun, [few], quick(steps=6)))
    assert len(losses(trained)) == 6
    assert trained.recipe.epochs is None
    assert drain(iter_fine_tune(begun, [few], quick(steps=None, minutes=1e-5)))[1].recipe.epochs == 250


@pytest.mark.parametrize("tune", [True, False])
def test_thresholds_are_tuned_on_what_is_checked_unless_they_should_stay(
    tune: bool, tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def tuned(maps: Any, fields: Any, decoder: Any, *, is_known: bool, **_: Any) -> Any:
        assert not is_known, "from scratch nothing was"
        seen.extend(int(field.checked.sum()) for field in fields)
        assert [one.shape[1:] for one in maps] == [field.checked.shape for field in fields]
        return decoder.model_copy(update={"min_size": 7})

    monkeypatch.setattr("napari_unet.training.loop.tune_decoder", tuned)
    trained = train(disc_samples(2), quick(tune_thresholds=tune), spec=tiny_spec())
    assert (trained.model.spec.decoder.min_size == 7) is tune
    assert seen == ([64 * 64] * 2 if tune else [])


@pytest.mark.parametrize("known", [True, False])
def test_threshold_and_weights_of_a_model_count_only_for_objects_that_it_knows(
    known: bool, disc_training: Trained, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []

    def tuned(_: Any, __: Any, decoder: Any, *, is_known: bool, **___: Any) -> Any:
        assert is_known is known
        starts.append(decoder.foreground_threshold)
        return decoder

    monkeypatch.setattr("napari_unet.training.loop.tune_decoder", tuned)
    spec = disc_training.model.spec
    sure = Model(
        disc_training.model.network,
        spec.model_copy(update={"decoder": spec.decoder.model_copy(update={"foreground_threshold": 0.8})}),
    )
    samples = disc_samples(2)
    if not known:
        samples = [Annotated(one.image.max() - one.image, one.labels, name=one.name) for one in samples]
    trained = fine_tune(sure, samples, quick(steps=2, tune_thresholds=True))
    result = trained.model.spec
    assert trained.recipe.distance_weight == (2 if known else 8)
    assert starts == [0.8 if known else 0.5]
    assert result.decoder.foreground_threshold == starts[0]
    assert (result.provenance["base_share"] > 0) is known


def test_best_weights_on_held_out_images_are_kept(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    samples = disc_samples(6)
    events, trained = drain(iter_train(samples, quick(steps=24, validation=0.3), spec=tiny_spec()))
    validated = [event for event in events if isinstance(event, Validated)]
    assert 2 <= len(validated) <= 13
    assert validated[-1].step == 24
    assert validated[0].is_best
    best = 0.0
    for event in validated:
        value = event.score.average_precision + event.score.foreground_iou
        assert event.is_best == (value >= best)
        best = max(best, value)
        assert event.score.objects >= MIN_HELD_OUT_OBJECTS
    assert trained.score is not None
    assert trained.score.objects >= MIN_HELD_OUT_OBJECTS
    made = trained.model.spec.provenance
    assert made["fields"] + made["held_out_fields"] == 6
    assert made["score"]["average_precision"] == trained.score.average_precision


def test_held_out_images_are_not_learned_from(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    samples = disc_samples(6)
    config = quick(steps=1, batch=32, validation=0.3)
    learned_from = set()
    for number, sample in enumerate(samples):
        # a group whose image is changed to noise changes the weights only if it is learned from
        noise = Annotated(np.random.default_rng(0).random((64, 64)), sample.labels, name=sample.name)
        changed = [noise if n == number else s for n, s in enumerate(samples)]
        first, other = (next(iter_train(s, config, spec=tiny_spec())) for s in (samples, changed))
        assert isinstance(first, StepDone)
        assert isinstance(other, StepDone)
        if first.loss != other.loss:
            learned_from.add(number)
    made = train(samples, config, spec=tiny_spec()).model.spec.provenance
    assert len(learned_from) == made["fields"] == 6 - made["held_out_fields"] < 6


def flat_scores(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    scores = iter(values)
    monkeypatch.setattr(
        "napari_unet.training.run.score", lambda *_, **__: Score(next(scores), 0.5, MIN_HELD_OUT_OBJECTS)
    )


def test_user_is_told_once_when_it_no_longer_improves(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat_scores(monkeypatch, [0.1, 0.5, 0.5, 0.4, 0.4, 0.5, *[0.3] * 20])
    events, _ = drain(iter_train(disc_samples(6), quick(steps=12, validation=0.3), spec=tiny_spec()))
    told = [n for n, event in enumerate(events) if isinstance(event, Notice)]
    assert len(told) == 1
    assert isinstance(events[told[0]], Notice)
    assert "you can stop" in events[told[0]].message
    assert sum(isinstance(event, Validated) for event in events[: told[0]]) == 6


def test_patience_ends_the_training_and_keeps_the_best(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat_scores(monkeypatch, [0.1, 0.5, *[0.2] * 20])
    config = quick(steps=24, validation=0.3, patience=3)
    events, trained = drain(iter_train(disc_samples(6), config, spec=tiny_spec()))
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.is_best for event in validated] == [True, True, False, False, False]
    assert len(losses(trained)) == validated[-1].step < 24
    assert not trained.stopped, "nobody told it to"
    flat_scores(monkeypatch, [0.1, 0.5, *[0.2] * 20])
    shorter = iter_train(disc_samples(6), config, spec=tiny_spec())
    for event in shorter:
        if event == validated[1]:
            break
    at_best = shorter.gi_frame.f_locals["run"].result()
    assert same(weights(at_best), weights(trained.model))


# fine-tuning


def test_what_is_rehearsed_is_a_share_of_each_batch_and_never_held_out(
    disc_training: Trained, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[int]] = []
    read = PatchReader.read

    def watched(self: PatchReader, places: Any, *others: Any) -> Any:
        drawn.append([place.field for place in places])
        return read(self, places, *others)

    monkeypatch.setattr(PatchReader, "read", watched)
    config = quick(batch=8, rehearsal=0.25)
    new, known = disc_samples(2), disc_samples(3)
    tuned = fine_tune(disc_training.model, new, config, rehearsal=known)
    assert tuned.model.spec.provenance["fields"] == 2
    assert len(drawn) == 3
    for batch in drawn:
        assert sum(field >= 2 for field in batch) == 2
        assert max(batch) <= 4
    without = fine_tune(disc_training.model, new, config)
    assert not same(weights(tuned.model), weights(without.model))
    assert max(max(batch) for batch in drawn[3:]) <= 1


def test_fine_tuning_leaves_the_model_as_it_was(disc_training: Trained, quick: Quick, disc_samples: Samples) -> None:
    model = disc_training.model
    before = weights(model)
    tuned = fine_tune(model, disc_samples(2), quick())
    assert same(weights(model), before)
    assert not model.network.training
    assert not same(weights(tuned.model), before)
    assert tuned.model.network is not model.network
    assert tuned.model.spec.provenance["parent"] == "tiny"
    assert tuned.model.spec.maps == model.spec.maps


def test_fine_tuning_keeps_the_statistics_of_batch_norm(
    disc_training: Trained, quick: Quick, disc_samples: Samples
) -> None:
    model, samples = disc_training.model, disc_samples(2)
    name = "contracting.0.1.running_mean"
    kept, learned = (fine_tune(model, samples, quick(batch_norm=choice)) for choice in (None, "learn"))
    assert torch.equal(weights(kept.model)[name], weights(model)[name])
    assert not torch.equal(weights(learned.model)[name], weights(model)[name])
    assert (kept.recipe.batch_norm, learned.recipe.batch_norm) == ("keep", "learn")
    assert train(samples, quick(steps=1), spec=model.spec).recipe.batch_norm == "learn"


def test_fine_tuning_of_classes_learns_the_statistics_of_batch_norm(
    tiny_model: Callable[..., Model], quick: Quick, disc_samples: Samples
) -> None:
    samples = [Annotated(s.image, (s.labels > 0).astype(int)) for s in disc_samples(1)]
    assert fine_tune(tiny_model(**CLASSES), samples, quick(steps=1)).recipe.batch_norm == "learn"


def test_fine_tuning_counts_gains_and_losses(disc_training: Trained, quick: Quick, disc_samples: Samples) -> None:
    fresh = Model(disc_training.model.spec.build_network().eval(), disc_training.model.spec)
    samples = disc_samples(2)
    total = sum(int(sample.labels.max()) for sample in samples)
    gained = fine_tune(disc_training.model, samples, quick(steps=1, learning_rate=1e-6), in_use=fresh).paired
    assert gained is not None
    assert (gained.total, gained.held_out, gained.lost) == (total, False, 0)
    assert gained.gained > 0.7 * total
    lost = fine_tune(fresh, samples, quick(steps=1, learning_rate=1e-6), in_use=disc_training.model).paired
    assert lost is not None
    assert lost.lost > 0.7 * total
    assert lost.gained == 0


def test_fine_tuning_compares_on_held_out_objects_where_there_are_enough(
    disc_training: Trained, quick: Quick, disc_samples: Samples
) -> None:
    tuned = fine_tune(disc_training.model, disc_samples(6), quick(steps=1, validation=0.3))
    assert tuned.paired is not None
    assert tuned.score is not None
    assert tuned.paired.held_out
    assert tuned.paired.total == tuned.score.objects


def test_fine_tuning_classes_counts_them(tiny_model: Callable[..., Model], quick: Quick, disc_samples: Samples) -> None:
    samples = [Annotated(s.image, (s.labels > 0).astype(int)) for s in disc_samples(2)]
    paired = fine_tune(tiny_model(**CLASSES), samples, quick(steps=1)).paired
    assert paired is not None
    assert paired.total == 2, "one class in each of two images"


def test_fine_tuning_can_be_stopped(disc_training: Trained, quick: Quick, disc_samples: Samples) -> None:
    stop = threading.Event()
    stop.set()
    _, tuned = drain(iter_fine_tune(disc_training.model, disc_samples(1), quick(steps=1000), stop=stop))
    assert tuned.stopped
    assert len(losses(tuned)) == 1


def test_training_can_start_from_another_model(disc_training: Trained, quick: Quick, disc_samples: Samples) -> None:
    spec = ModelSpec(network=disc_training.model.spec.network, channels=("image",), name="next")
    config = quick(steps=1, learning_rate=1e-9, ema=0.0)
    _, started = drain(iter_train(disc_samples(1), config, spec=spec, start=disc_training.model))
    source, result = disc_training.model.network, started.model.network
    torch.testing.assert_close(
        result.state_dict()["contracting.0.0.weight"], source.state_dict()["contracting.0.0.weight"], atol=1e-6, rtol=0
    )
    assert not torch.allclose(result.head.weight, source.head.weight), "the output layer is new"


def test_trained_model_can_be_saved(disc_training: Trained, tmp_path: Any) -> None:
    loaded = load_model_file(save_model(disc_training.model, tmp_path / "discs"))
    assert same(weights(loaded), weights(disc_training.model))
    assert loaded.spec.provenance == disc_training.model.spec.provenance


# what can go wrong


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_to_learn_from_is_told(dims: int, tiny_spec: MakeSpec, quick: Quick) -> None:
    spec = tiny_spec(network={"spatial_dims": dims, "features": (3, 4)})
    empty = Annotated(np.zeros((40, 40)), np.zeros((40, 40), int))
    unchecked = Annotated(np.zeros((40, 40)), np.ones((40, 40), int), np.zeros((40, 40), np.uint8))
    full = Annotated(np.zeros((40, 40)), np.ones((40, 40), int))
    for samples, words in (
        ([empty], "No object"),
        ([unchecked], "No object"),
        ([], "No object"),
        ([full], "No background"),
    ):
        with pytest.raises(TrainingError, match=f"{words} is checked"):
            train(samples, quick(), spec=spec)
    with pytest.raises(TrainingError, match="at least one image"):
        train([], quick())


def test_model_of_other_channels_is_told(disc_training: Trained, quick: Quick, rng: np.random.Generator) -> None:
    sample = Annotated(rng.random((2, 40, 40)), np.eye(40, dtype=int), axes="CYX")
    with pytest.raises(ImageError, match="2 channels"):
        fine_tune(disc_training.model, [sample], quick())


def test_unknown_device_is_told(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    with pytest.raises(ConfigError, match="cannot be used here"):
        train(disc_samples(1), quick(device="tpu"), spec=tiny_spec())


def test_training_that_runs_away_is_told(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples) -> None:
    with pytest.raises(TrainingError, match="lower learning rate"):
        train(disc_samples(1), quick(steps=20, learning_rate=1e30), spec=tiny_spec(network={"norm": "none"}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": 1, "steps": 1},
        {"steps": 0},
        {"minutes": 0},
        {"validation": 0.6},
        {"patch": 16},
        {"ema": 1},
        {"stepps": 3},
    ],
)
def test_settings_have_ranges(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig(**wrong)


def test_fine_tuning_gives_back_a_share_of_the_base(
    disc_training: Trained, quick: Quick, disc_samples: Samples
) -> None:
    samples, base = disc_samples(1), weights(disc_training.model)
    free, half = (fine_tune(disc_training.model, samples, quick(base_share=share)) for share in (0, 0.5))
    for name, learned in weights(free.model).items():
        if learned.is_floating_point():
            torch.testing.assert_close(weights(half.model)[name], (learned + base[name]) / 2)
    assert half.model.spec.provenance["base_share"] == 0.5


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ([0.7, 0.7, 0.7, 0.7], 0.75),
        ([0.6, 0.695, 0.7, 0.7], 0.5),
        ([0.4, 0.5, 0.7, 0.7], 0.25),
        ([0.4, 0.5, 0.6, 0.7], 0.0),
    ],
)
def test_the_share_is_the_largest_that_the_corrections_allow(
    scores: list[float],
    share: float,
    disc_training: Trained,
    quick: Quick,
    disc_samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = iter(scores)
    monkeypatch.setattr(
        "napari_unet.training.giving_back.own_scores",
        lambda _, __, decoders, *___, **____: [next(values)] * len(decoders),
    )
    tuned = fine_tune(disc_training.model, disc_samples(1), quick())
    assert tuned.model.spec.provenance["base_share"] == share


def test_nothing_is_given_back_of_what_the_corrections_need(
    disc_training: Trained, quick: Quick, disc_samples: Samples
) -> None:
    """A base that knows nothing has nothing to give back."""
    spec = disc_training.model.spec
    ignorant = Model(spec.build_network().eval(), spec)
    with torch.no_grad():
        for parameter in ignorant.network.parameters():
            parameter.zero_()
        ignorant.network.head.bias.fill_(-20)
    candidate, share = give_back(
        ignorant,
        disc_training.model,
        make_fields(disc_samples(2), spec),
        "auto",
        PredictConfig(),
        give_up=lambda: False,
    )
    assert share == 0.0
    assert same(weights(candidate), weights(disc_training.model))
