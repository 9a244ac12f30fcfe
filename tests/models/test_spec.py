"""What a model is, apart from its weights."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_unet import ClassSpec, DecoderSpec, ModelSpec, NetworkSpec
from napari_unet.models import MapSpec


def test_instance_model_has_foreground_and_two_distances() -> None:
    spec = ModelSpec(channels=("DAPI", "actin"))
    assert [m.name for m in spec.maps] == ["foreground", "boundary_distance", "centre_distance"]
    assert {m.activation for m in spec.maps} == {"sigmoid"}
    assert spec.decoder.kind == "seeded_watershed"
    assert (spec.in_channels, spec.spatial_dims) == (2, 2)


def test_semantic_model_has_a_map_for_the_background_and_each_class() -> None:
    spec = ModelSpec(task="semantic", classes=(ClassSpec(name="root"), ClassSpec(name="soil", color="#00ff00")))
    assert [m.name for m in spec.maps] == ["background", "root", "soil"]
    assert {m.activation for m in spec.maps} == {"softmax"}
    assert spec.decoder.kind == "argmax"


def test_semantic_model_of_one_unnamed_class() -> None:
    assert [m.name for m in ModelSpec(task="semantic").maps] == ["background", "object"]


def test_network_has_the_channels_and_maps_of_the_spec() -> None:
    network = ModelSpec(
        task="semantic",
        classes=tuple(ClassSpec(name=n) for n in "abc"),
        channels=("x", "y"),
        network=NetworkSpec(features=(4, 6), padding="valid", norm="none", dropout=0.25, spatial_dims=3, flat_levels=1),
    ).build_network()
    assert (network.in_channels, network.out_channels, network.spatial_dims) == (2, 4, 3)
    assert (network.features, network.padding, network.norm) == ((4, 6), "valid", "none")
    assert (network.dropout, network.flat_levels) == (0.25, 1)


def specs() -> st.SearchStrategy[ModelSpec]:
    names = st.text(min_size=1, max_size=8)
    classes = st.lists(names, min_size=1, max_size=4).map(lambda ns: tuple(ClassSpec(name=n) for n in ns))
    common = {
        "name": names,
        "channels": st.lists(names, min_size=1, max_size=3).map(tuple),
        "object_diameter_px": st.none() | st.floats(0.1, 1e4),
        "network": st.builds(
            NetworkSpec,
            features=st.lists(st.integers(1, 64), min_size=1, max_size=5).map(tuple),
            dropout=st.floats(0, 0.9),
        ),
        "provenance": st.dictionaries(names, names | st.integers(-(2**53), 2**53) | st.none(), max_size=3),
    }
    objects = st.builds(ModelSpec, **common, decoder=st.builds(DecoderSpec, min_size=st.integers(0, 99)))
    return objects | st.builds(ModelSpec, **common, task=st.just("semantic"), classes=classes)


@given(specs())
def test_spec_survives_its_document(spec: ModelSpec) -> None:
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"task": "panoptic"}, "instances"),
        ({"name": ""}, "at least 1"),
        ({"channels": ()}, "at least 1"),
        ({"classes": ()}, "at least 1"),
        ({"classes": [{"name": "a"}, {"name": "b"}]}, "one kind of object"),
        ({"task": "semantic", "classes": [{"name": str(n)} for n in range(256)]}, "at most 255"),
        ({"task": "semantic", "maps": [{"name": "a", "activation": "softmax"}]}, "one map for the background"),
        ({"maps": [{"name": "a", "activation": "sigmoid"}]}, "three maps"),
        ({"decoder": {"kind": "argmax"}}, "seeded_watershed"),
        ({"task": "semantic", "decoder": {"kind": "seeded_watershed"}}, "argmax"),
        ({"percentiles": (50, 50)}, "two numbers"),
        ({"percentiles": (1, 101)}, "two numbers"),
        ({"object_diameter_px": 0}, "greater than 0"),
        ({"network": {"features": ()}}, "at least 1"),
        ({"network": {"features": (8, 0)}}, "greater than 0"),
        ({"network": {"spatial_dims": 4}}, "2 or 3"),
        ({"decoder": {"min_prominence": 1.5}}, "less than 1"),
        ({"weights": "x"}, "not permitted"),
        ({"network": {"depth": 4}}, "not permitted"),
    ],
)
def test_spec_that_contradicts_itself_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelSpec.model_validate(wrong)


def test_maps_share_one_activation() -> None:
    maps = [MapSpec(name=name, activation=a) for name, a in zip("abc", ("sigmoid", "softmax", "sigmoid"), strict=True)]
    with pytest.raises(ValidationError, match="same activation"):
        ModelSpec(maps=tuple(maps))


def test_spec_cannot_be_changed() -> None:
    spec = ModelSpec()
    with pytest.raises(ValidationError):
        spec.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        spec.decoder.min_size = 3  # type: ignore[misc]


def test_model_of_the_paper() -> None:
    spec = ModelSpec.ronneberger2015("cells")
    assert spec.task == "instances"
    assert [one.activation for one in spec.maps] == ["softmax", "softmax"]
    assert sum(p.numel() for p in spec.build_network().parameters()) == 31_030_658
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValidationError, match="three maps, or two for components"):
        ModelSpec(maps=spec.maps)


def test_a_file_from_before_prominence_is_read() -> None:
    decoder = DecoderSpec.model_validate({"kind": "seeded_watershed", "seed_threshold": 0.4, "peak_threshold": 0.5})
    assert (decoder.min_prominence, decoder.peak_threshold) == (0.25, 0.5)
    assert decoder.fill_holes, "as objects have none"
