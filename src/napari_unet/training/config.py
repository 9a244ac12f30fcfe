"""How to train: every setting with its range and its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from napari_unet.errors import ConfigError
from napari_unet.training.augment import AugmentConfig
from napari_unet.training.recipe import from_toml, to_toml

__all__ = ["TrainConfig"]


class TrainConfig(BaseModel):
    """How to train. The defaults are those of the panel and of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    minutes: float | None = Field(default=None, gt=0)
    """How long to train at most. Give minutes or steps; neither: 5 minutes."""
    steps: int | None = Field(default=None, ge=1)
    """How many steps to train: with the same seed, device and threads the result is the same."""
    epochs: int | None = Field(default=None, ge=1)
    """How often each checked object is drawn at most; then the training ends, whatever time is left. None: 250 where a
    model is trained further for some minutes, else no limit. A fast device would learn a few objects by heart
    in some minutes."""
    batch: int | None = Field(default=None, ge=1)
    """Patches per step. None: 8 from scratch, 4 for fine-tuning: in the first minutes it is the number of steps that
    counts."""
    patch: int | None = Field(default=None, ge=32)
    """Edge of a patch in pixels, as the network sees it. None: for planes 192 from scratch and 128 for fine-tuning, for
    volumes 64 (z: as deep as the stack, at most 32); valid convolutions see their margin beyond that."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak of the learning rate."""
    base_share: float | Literal["auto"] = "auto"
    """Share of the weights of the model it starts from that is mixed into the result of a fine-tuning: what the
    corrections do not need stays as it was. auto: the largest of 0.75, 0.5, 0.25 and 0 at which the corrections are
    found as well as without; 0 where that model finds less than half of the checked objects."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw, or stochastic gradient descent with momentum, as in the paper."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    """Momentum of sgd (the paper's 0.99); adamw has its own."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the learning rate goes on after its rise: down to a hundredth in half a cosine, or as it is."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decay of the weights, apart from the gradient in adamw."""
    batch_norm: Literal["learn", "keep"] | None = None
    """keep: the statistics of batch norm stay those of the model that the training starts from. None: keep where a
    model of objects is trained further, for those of a few small patches say little about the next image
    (docs/training.md); else learn."""
    border_weight: float = Field(default=10.0, ge=0)
    """How much more the background between two touching objects weighs (the paper's w0); for models that are
    decoded by components."""
    border_sigma_px: float = Field(default=5.0, gt=0)
    """How fast that weight falls off, in pixels (the paper's 5)."""
    distance_weight: float | None = Field(default=None, ge=0)
    """How much the distances to boundary and centre count beside the foreground, for models of objects that are decoded
    by them: they tell objects apart, and are learned last. None: 2, and 8 where a model is trained further that finds
    less than half of the checked objects (docs/training.md)."""
    ema: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the running average of the weights, which is what is kept. 0: off."""
    validation: float = Field(default=0.2, ge=0, le=0.5)
    """Share of the checked objects that is held out for the score. 0: none."""
    patience: int | None = Field(default=None, ge=1)
    """End by itself after so many validations in a row without a better score. None: say so, and go on."""
    favour_mistakes: float = Field(default=0.25, ge=0, le=1)
    """Share of the patches that a fine-tuning draws where the model it starts from is wrong."""
    background_prior: float = Field(default=0.1, ge=0, le=1)
    """How much unchecked voxels count as background, against 1 for checked ones; for objects alone. What looks like
    checked objects stays foreground, what looks like nothing that was checked becomes background. 0: not at all."""
    rehearsal: float = Field(default=0.25, ge=0, lt=1)
    """Share of the patches that is drawn from the samples to rehearse, where there are some: what the model knew
    before is not forgotten."""
    tune_thresholds: bool = True
    """Set the thresholds that make objects of the maps to what suits the held-out areas, or else the corrections; and
    fill holes of objects unless the checked ones have some."""
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

    @classmethod
    def ronneberger2015(cls, **changes: Any) -> TrainConfig:
        """Return the paper's recipe, to be used with `ModelSpec.ronneberger2015`.

        One large tile per step, gradient descent with momentum 0.99, borders between objects weighted with w0 = 10
        and sigma = 5 px, elastic deformation on a 3x3 grid with 10 px and cubic interpolation, shifts, rotations and
        grey values varied; no weight decay and no average. The paper names no learning rate: ours is 0.001, constant.

        Parameters
        ----------
        **changes
            Other values for some settings, above all ``minutes`` or ``steps``.

        References
        ----------
        .. [1] Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, section 3.
        """
        augmentation = AugmentConfig(elastic_px=10, rotate=True, scale=1, flip=False, shading=0, noise=0, blur_px=0)
        recipe: dict[str, Any] = {
            "batch": 1, "patch": 572, "optimizer": "sgd", "momentum": 0.99, "learning_rate": 1e-3,
            "schedule": "constant", "weight_decay": 0.0, "ema": 0.0, "border_weight": 10.0, "border_sigma_px": 5.0,
            "augmentation": augmentation,
        }  # fmt: skip
        return cls(**{**recipe, **changes})

    @classmethod
    def from_toml(cls, path: str | Path) -> TrainConfig:
        """Read a recipe; settings that it does not name have their defaults.

        Parameters
        ----------
        path : path

        Raises
        ------
        ConfigError
            If it cannot be read, or a setting is unknown or out of its range.
        """
        return from_toml(cls, path)

    def changed(self, **settings: Any) -> TrainConfig:
        """Return the recipe with other values for some settings; None leaves one as it is.

        Minutes take the place of steps, and steps that of minutes.

        Examples
        --------
        >>> TrainConfig(steps=100).changed(minutes=2, seed=None).steps is None
        True
        """
        given = {name: value for name, value in settings.items() if value is not None}
        replaced = {"minutes", "steps"} if given.keys() & {"minutes", "steps"} else set()
        return TrainConfig.model_validate({**self.model_dump(exclude=replaced), **given})

    def to_toml(self, path: str | Path | None = None) -> str:
        """Return the recipe as TOML, each setting with its explanation, and write it to `path` if one is given.

        Training again with it, ``steps`` being set, on the same device with as many threads gives the same weights.

        Parameters
        ----------
        path : path, optional

        Raises
        ------
        ConfigError
            If it cannot be written there.
        """
        text = to_toml(self)
        if path is not None:
            try:
                Path(path).write_text(text, encoding="utf-8")
            except OSError as error:
                raise ConfigError(
                    f"The recipe cannot be written to {path} ({error.strerror or error}). Choose another place."
                ) from error
        return text

    @field_validator("base_share")
    @classmethod
    def _is_share(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0 <= value < 1:
            raise ValueError("the share is from 0 to below 1, or auto")
        return value

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.minutes is not None and self.steps is not None:
            raise ValueError("give minutes or steps, not both")
        return self
