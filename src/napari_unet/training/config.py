"""How to train: every setting with its range and its reason."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_unet.training.augment import AugmentConfig

__all__ = ["TrainConfig"]


class TrainConfig(BaseModel):
    """How to train. The defaults are those of the panel and of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    minutes: float | None = Field(default=None, gt=0)
    """How long to train. Give minutes or steps; neither: 5 minutes."""
    steps: int | None = Field(default=None, ge=1)
    """How many steps to train: with the same seed, device and threads the result is the same."""
    batch: int = Field(default=8, ge=1)
    """Patches per step."""
    patch: int | None = Field(default=None, ge=32)
    """Edge of a patch in pixels. None: 192 for planes, 64 for volumes (z: as deep as the stack, at most 32)."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak of the learning rate. None: 0.002 from scratch, 0.0007 for fine-tuning."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decoupled weight decay of AdamW."""
    ema: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the running average of the weights, which is what is kept. 0: off."""
    validation: float = Field(default=0.2, ge=0, le=0.5)
    """Share of the checked objects that is held out for the score. 0: none."""
    patience: int | None = Field(default=None, ge=1)
    """End by itself after so many validations in a row without a better score. None: say so, and go on."""
    augmentation: AugmentConfig = AugmentConfig()
    """What is varied in the patches."""
    device: str = "auto"
    """cuda, mps or cpu. auto: the best one that works."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the convolutions. auto: bfloat16 where the device computes it in hardware."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads. None: all cores; the panel leaves one to the window."""
    seed: int = 0
    """Seed of everything random."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.minutes is not None and self.steps is not None:
            raise ValueError("give minutes or steps, not both")
        return self
