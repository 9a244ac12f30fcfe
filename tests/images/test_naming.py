"""Which names an image and its labels have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.images import LABEL_ENDINGS, is_named_as_labels, label_stems, shared_stem

STEMS = st.text("abZ019_- .", min_size=1).filter(lambda stem: shared_stem(stem) == stem)


@given(STEMS, st.sampled_from(["", "_img", "_IMG"]), st.sampled_from(LABEL_ENDINGS), st.booleans())
def test_an_image_and_its_labels_share_a_name(stem, image_ending, ending, is_upper):
    image, ending = stem + image_ending, ending.upper() if is_upper else ending
    for labels in (stem + ending, image + ending):
        assert is_named_as_labels(labels)
        assert labels.casefold() in label_stems(image)
        assert shared_stem(labels) == shared_stem(image) == stem
    assert not is_named_as_labels(image)


@pytest.mark.parametrize("stem", ["_img", "_masks", "masks", "a_masks_2", "cells"])
def test_other_names_stay(stem):
    assert shared_stem(stem) == stem
    assert stem not in label_stems(stem)
