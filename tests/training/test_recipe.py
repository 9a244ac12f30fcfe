"""One recipe: what is written beside a result gives that result again."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_unet import TrainConfig, fine_tune, train
from napari_unet.errors import ConfigError
from napari_unet.training import AugmentConfig

if TYPE_CHECKING:
    from pathlib import Path

configs = st.builds(
    TrainConfig,
    steps=st.none() | st.integers(1, 10**6),
    learning_rate=st.floats(1e-9, 10),
    base_share=st.just("auto") | st.floats(0, 0.99),
    optimizer=st.sampled_from(["adamw", "sgd"]),
    momentum=st.floats(0, 0.999),
    device=st.sampled_from(["auto", "cpu", "cuda:1", 'a "strange" \\name\n']),
    seed=st.integers(-(10**9), 10**9),
    augmentation=st.builds(AugmentConfig, rotate=st.booleans(), scale=st.floats(1, 3), noise=st.just(0)),
)


@given(config=configs)
def test_recipe_comes_back_as_it_was(config: TrainConfig, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    text = config.to_toml(file)
    assert file.read_text(encoding="utf-8") == text == config.to_toml()
    assert TrainConfig.from_toml(file) == config


@pytest.mark.parametrize("config", [TrainConfig(), TrainConfig.ronneberger2015(minutes=7.5)])
def test_recipe_explains_every_setting(config: TrainConfig, tmp_path: Path) -> None:
    text = config.to_toml(tmp_path / "recipe.toml")
    for name, field in TrainConfig.model_fields.items():
        if name != "augmentation":
            assert f"{name} =" in text
            assert (field.description or "?").splitlines()[0] in text
    assert tomllib.loads(text)["augmentation"]["elastic_px"] == 10
    assert TrainConfig.from_toml(tmp_path / "recipe.toml") == config


def test_recipe_names_only_what_differs_from_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text("minutes = 2\nbatch = 4\n[augmentation]\nflip = false\n")
    assert TrainConfig.from_toml(file) == TrainConfig(minutes=2, batch=4, augmentation=AugmentConfig(flip=False))


def test_changes_to_a_recipe_take_the_place_of_its_settings() -> None:
    recipe = TrainConfig(steps=100, batch=3)
    assert recipe.changed(minutes=None, seed=None) == recipe
    assert recipe.changed(minutes=2, seed=5) == TrainConfig(minutes=2, batch=3, seed=5)
    assert recipe.changed(steps=7).steps == 7
    with pytest.raises(ValueError, match="batch"):
        recipe.changed(batch=0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepps = 3", "recipe.toml: stepps.*There are: minutes, steps"),
        ("steps = 0", "recipe.toml: steps: .*greater than or equal to 1"),
        ("steps = 3\nminutes = 1", "recipe.toml: give minutes or steps, not both"),
        ("[augmentation]\nshear = 1", r"augmentation\.shear"),
        ("steps = = 3", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told(text: str | bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=words):
        TrainConfig.from_toml(file)


def test_recipe_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Choose another place"):
        TrainConfig().to_toml(tmp_path / "nowhere" / "recipe.toml")


def test_training_again_with_the_recipe_gives_the_same_weights(
    tiny_spec: Any, quick: Any, disc_samples: Any, tmp_path: Path
) -> None:
    config = quick(
        steps=4, seed=3, favour_mistakes=0.1, augmentation=AugmentConfig(shading=0.1), batch_norm="learn",
        distance_weight=3,
    )  # fmt: skip
    first = train(disc_samples(2), config, spec=tiny_spec())
    assert first.recipe == config
    first.recipe.to_toml(tmp_path / "recipe.toml")
    again = train(disc_samples(2), TrainConfig.from_toml(tmp_path / "recipe.toml"), spec=tiny_spec())
    for one, two in zip(first.model.network.parameters(), again.model.network.parameters(), strict=True):
        assert torch.equal(one, two)
    made = TrainConfig.model_validate(again.model.spec.provenance["config"])
    assert made == config, "the model file holds it as well"
    open_settings = quick(steps=1, device="auto", precision="auto", threads=None)
    chosen = train(disc_samples(1), open_settings, spec=tiny_spec()).recipe
    assert chosen.threads is not None
    assert "auto" not in (chosen.device, chosen.precision)


@pytest.mark.parametrize(("task", "shading"), [("instances", 0.25), ("semantic", 0.0)])
def test_light_varies_over_a_patch_where_objects_are_learned(
    tiny_spec: Any, tiny_model: Any, quick: Any, disc_samples: Any, task: str, shading: float
) -> None:
    samples = [replace(one, labels=(one.labels > 0).astype(int)) for one in disc_samples(1)]
    assert train(samples, quick(steps=1), spec=tiny_spec(task=task)).recipe.augmentation.shading == shading
    assert fine_tune(tiny_model(task=task), samples, quick(steps=1)).recipe.augmentation.shading == shading
    chosen = quick(steps=1, augmentation=AugmentConfig(shading=0.5))
    assert train(samples, chosen, spec=tiny_spec(task=task)).recipe.augmentation.shading == 0.5
