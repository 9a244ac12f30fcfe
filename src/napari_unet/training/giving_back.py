"""How much of the weights that a fine-tuning started from its result should keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.models import Model
from napari_unet.training.validation import own_scores
from napari_unet.training.weights import mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_unet.prediction import PredictConfig
    from napari_unet.training.sampling import Field

__all__ = ["give_back"]

_SHARES = (0.75, 0.5, 0.25)
_TOLERANCE = 0.02
_MAX_FIELDS = 12


def give_back(
    base: Model,
    tuned: Model,
    fields: Sequence[Field],
    share: float | Literal["auto"],
    config: PredictConfig,
    *,
    give_up: Callable[[], bool],
) -> tuple[Model, float]:
    """Mix weights of the base model into those of a fine-tuned one: what the corrections do not need.

    Halfway between both, what was learned is often found as well, and less is forgotten (docs/training.md).

    Parameters
    ----------
    base, tuned : Model
        Of one architecture; where the output layers differ, nothing is mixed.
    fields : sequence of Field
        What is checked, held-out areas first: what counts as the corrections.
    share : float or "auto"
        Share of the base's weights. auto: the largest of 0.75, 0.5, 0.25 and 0 whose score on the checked voxels is
        within two hundredths of the best.
    config : PredictConfig
    give_up : callable
        Whether there is no time left to try; then nothing is mixed.

    Returns
    -------
    Model, float
        The result, and the share that was chosen.

    References
    ----------
    .. [1] Wortsman et al.: Robust fine-tuning of zero-shot models, CVPR 2022.
    """
    if base.spec.maps != tuned.spec.maps or share == 0:
        return tuned, 0.0
    if share != "auto":
        return mixed(base, tuned, share), share
    every = max(1, -(-len(fields) // _MAX_FIELDS))
    # with more of the old weights the old thresholds may be the better ones
    own = tuned.spec.decoder
    decoders = list(dict.fromkeys((own, base.spec.decoder.model_copy(update={"fill_holes": own.fill_holes}))))
    candidates, values = [], []
    for one in (*_SHARES, 0.0):
        model = mixed(base, tuned, one) if one else tuned
        found = own_scores(model, fields[::every], decoders, config, give_up=give_up)
        if found is None:
            return tuned, 0.0
        decoder = decoders[int(np.argmax(found))]
        candidates.append((Model(model.network, model.spec.model_copy(update={"decoder": decoder})), one))
        values.append(max(found))
    good_enough = np.array(values) >= max(values) - _TOLERANCE
    return candidates[int(np.argmax(good_enough))]
