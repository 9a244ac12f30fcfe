"""What can go wrong, in the user's words: every message says what is wrong and what to do."""

from __future__ import annotations


class UNetError(Exception):
    """Base of every error that this package raises on purpose.

    Deliberately not a `RuntimeError`: Qt generator workers swallow those.
    """


class ImageError(UNetError):
    """The image cannot be used as it is (axes, channels, dtype, size)."""


class AnnotationError(UNetError):
    """The labels or their status do not fit the image, or teach nothing."""


class ModelFileError(UNetError):
    """A model file is damaged, of another kind, or unknown."""


class ConfigError(UNetError):
    """A setting is out of its range, or settings contradict each other."""


class PredictionError(UNetError):
    """The network could not be run on the image."""


class TrainingError(UNetError):
    """The training cannot start or cannot go on."""


class StoreError(UNetError):
    """Corrections cannot be read, or not be kept where they should be."""


class ImageChangedError(StoreError):
    """The corrections were made on an image that has other pixels now."""


class CheckpointError(TrainingError):
    """A checkpoint is damaged, or it belongs to another training."""
