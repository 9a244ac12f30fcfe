"""Losses: true masked means, so that the number of unchecked voxels in a patch changes nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_unet.models import ModelSpec

    Loss = Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]

__all__ = ["border_loss", "instance_loss", "loss_of", "presumed_loss", "semantic_loss"]


def loss_of(spec: ModelSpec, background_prior: float = 0.0, distance_weight: float = 1.0) -> Loss:
    """Return the loss that a kind of model is trained with.

    Parameters
    ----------
    spec : ModelSpec
    background_prior : float
        For objects: how much the voxels count that are presumed to be background, see `presumed_loss`.
    distance_weight : float
        For objects that are told apart by distances: see `instance_loss`.
    """
    if spec.task == "semantic":
        return semantic_loss
    with_distances = partial(instance_loss, distance_weight=distance_weight)
    loss = border_loss if spec.decoder.kind == "components" else with_distances
    return partial(_with_presumed, loss, background_prior) if background_prior else loss


def instance_loss(logits: Tensor, distances: Tensor, masks: Tensor, distance_weight: float = 1.0) -> dict[str, Tensor]:
    """Return the parts of the loss for objects; their sum is what is minimised.

    Parameters
    ----------
    logits : Tensor
        ``B3(Z)YX``: foreground, boundary distance, centre distance.
    distances : Tensor
        ``B2(Z)YX``, targets 0 to 1.
    masks : Tensor
        ``B3(Z)YX``: class, where the class is learned, where the distances are.
    distance_weight : float
        Factor of the last part.

    Returns
    -------
    dict of str to Tensor
        ``foreground``: cross entropy, the mean over the foreground and the mean over the background averaged;
        ``overlap``: soft Dice; ``distance``: cross entropy against the distances, less its own minimum.
    """
    is_object = masks[:, 0] > 0.5
    learn = masks[:, 1] > 0.5
    entropy = functional.binary_cross_entropy_with_logits(logits[:, 0], is_object.float(), reduction="none")
    present = [mask for mask in (learn & is_object, learn & ~is_object) if bool(mask.any())]
    zero = logits.sum() * 0.0
    foreground = sum((masked_mean(entropy, mask) for mask in present), zero) / max(1, len(present))

    probability = torch.sigmoid(logits[:, 0]) * learn
    truth = (is_object & learn).float()
    overlap = 1 - (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)

    known = (masks[:, 2:3] > 0.5).expand_as(distances)
    soft = functional.binary_cross_entropy_with_logits(logits[:, 1:], distances, reduction="none")
    bounded = distances.clamp(1e-6, 1 - 1e-6)
    least = -(bounded * bounded.log() + (1 - bounded) * (1 - bounded).log())
    distance = masked_mean(soft - least, known) if bool(known.any()) else zero
    return {"foreground": foreground, "overlap": overlap, "distance": distance_weight * distance}


def semantic_loss(logits: Tensor, distances: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Return the loss for classes: cross entropy, averaged over each class present and then over these.

    Parameters are those of `instance_loss`; there are no distances.
    """
    del distances
    classes, learn = masks[:, 0].round().long(), masks[:, 1] > 0.5
    entropy = functional.cross_entropy(logits, classes, reduction="none")
    present = torch.unique(classes[learn])
    per_class = [masked_mean(entropy, learn & (classes == number)) for number in present]
    return {"classes": torch.stack(per_class).mean() if per_class else logits.sum() * 0.0}


def border_loss(logits: Tensor, distances: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Return the loss of the paper: soft-max cross entropy, weighted.

    Parameters
    ----------
    logits : Tensor
        ``B2(Z)YX``: foreground, background.
    distances : Tensor
        ``B1(Z)YX``: the weight of each voxel, see `border_weights`.
    masks : Tensor
        As in `instance_loss`.
    """
    learn = masks[:, 1] > 0.5
    if not bool(learn.any()):
        return {"border": logits.sum() * 0.0}
    entropy = functional.cross_entropy(logits, (masks[:, 0] < 0.5).long(), reduction="none")
    weights = distances[:, 0] * learn
    return {"border": (entropy * weights).sum() / weights.sum()}


def presumed_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean cross entropy against background, where it is presumed.

    A weak pull is enough: where voxels of one look are objects in some places, those that are checked outweigh it, and
    nothing outweighs it where nobody has checked anything like it. Learning from positive and unlabelled examples
    rests on the same bias (Elkan and Noto, KDD 2008).

    Parameters
    ----------
    logits : Tensor
        ``BC(Z)YX``: foreground first; of two maps the other is background.
    masks : Tensor
        ``B4(Z)YX``, the last of them where background is presumed.
    """
    presumed = masks[:, 3] > 0.5
    if not bool(presumed.any()):
        return logits.sum() * 0.0
    foreground = logits[:, 0] - logits[:, 1] if logits.shape[1] == 2 else logits[:, 0]
    return masked_mean(functional.softplus(foreground), presumed)


def _with_presumed(loss: Loss, weight: float, logits: Tensor, distances: Tensor, masks: Tensor) -> dict[str, Tensor]:
    return {**loss(logits, distances, masks), "presumed": weight * presumed_loss(logits, masks)}


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` where `mask` holds; the mask must hold somewhere."""
    return (values * mask).sum() / mask.sum()
