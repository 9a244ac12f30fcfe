"""Errors that are raised on purpose."""

from __future__ import annotations

import pytest

from napari_unet import errors

CHILDREN = errors.UNetError.__subclasses__()


def test_there_is_one_for_each_thing_that_can_be_wrong() -> None:
    assert {child.__name__ for child in CHILDREN} >= {
        "ImageError", "AnnotationError", "ModelFileError", "ConfigError", "PredictionError", "TrainingError",
    }  # fmt: skip


@pytest.mark.parametrize("error", [errors.UNetError, *CHILDREN])
def test_none_is_swallowed_by_qt_workers(error: type[Exception]) -> None:
    # superqt's generator workers swallow RuntimeError
    assert not issubclass(error, RuntimeError)
