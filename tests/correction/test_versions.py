"""Labels of replaced models beside the corrections."""

import numpy as np
import pytest

from napari_unet.correction import Project, has_store, identify, keep_version, list_versions, open_store, open_version
from napari_unet.errors import StoreError


@pytest.mark.parametrize("shape", [(5, 7), (3, 600, 20), (1, 1)])
def test_labels_come_back_as_they_were(tmp_path, rng, shape):
    first, second = (rng.integers(0, 1000, shape).astype(np.int32) for _ in range(2))
    keep_version(tmp_path, first, "nuclei", checked=3)
    keep_version(tmp_path, second, "my cells-2")
    found = list_versions(tmp_path)
    assert [(one.model, one.checked) for one in found] == [("my cells-2", 0), ("nuclei", 3)]
    np.testing.assert_array_equal(open_version(found[1], shape), first)
    # kept again, it takes the place of the earlier one
    keep_version(tmp_path, second, "nuclei")
    assert [one.model for one in list_versions(tmp_path)] == ["nuclei", "my cells-2"]
    np.testing.assert_array_equal(open_version(list_versions(tmp_path)[0], shape), second)


def test_what_is_damaged_or_does_not_fit(tmp_path):
    version = keep_version(tmp_path, np.ones((4, 4), np.int32), "nuclei")
    with pytest.raises(StoreError, match="another size"):
        open_version(version, (4, 5))
    keep_version(tmp_path, np.ones((4, 4), np.int32), "other")
    (version.path / "zarr.json").write_text("{")
    assert [one.model for one in list_versions(tmp_path)] == ["other"]
    with pytest.raises(StoreError, match="segment again"):
        open_version(version, (4, 4))
    with pytest.raises(StoreError, match="Make room"):
        keep_version(tmp_path / "missing", np.ones((4, 4), np.int32), "nuclei")


def test_a_store_with_versions_opens_again(tmp_path, rng):
    identity = identify(rng.integers(0, 9, (8, 8)), "YX", path=tmp_path / "a.tif", name="a")
    store = open_store(identity, kind="nucleus")
    keep_version(store.path, np.ones((8, 8), np.int32), "nuclei")
    store.close()
    assert has_store(identity, "nucleus")
    store = open_store(identity, kind="nucleus")
    assert len(list_versions(store.path)) == 1
    assert store.notice == ""
    store.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gland, stroma", "gland, stroma, debris", True),
        ("gland, stroma, debris", "gland, stroma", True),
        ("gland, stroma", "stroma, gland", False),
        ("gland, stroma", "gland, stromal", False),
        ("nucleus", "nucleus, debris", False),
        ("nucleus", "nucleus", True),
    ],
)
def test_a_store_of_fewer_classes_is_found_but_the_exact_one_first(tmp_path, rng, one, other, same):
    identity = identify(rng.integers(0, 9, (8, 8)), "YX", path=tmp_path / "a.tif", name="a")
    store = open_store(identity, kind=one)
    assert store.kind == one
    store.close()
    assert has_store(identity, other) == same
    again = open_store(identity, kind=other)
    assert (again.path == store.path) == same
    assert again.kind == (one if same else other)
    again.kind = other
    again.close()
    last = open_store(identity, kind=other)
    assert (last.kind, last.path) == (other, again.path)
    last.close()


def test_a_project_knows_stores_from_before_a_class_was_added(tmp_path, rng):
    for name, kind in (("old", "gland, stroma"), ("new", "gland, stroma, debris"), ("other", "vessel, nerve")):
        (tmp_path / f"{name}.tif").touch()
        identity = identify(rng.integers(0, 9, (8, 8)), "YX", path=tmp_path / f"{name}.tif", name=f"{name}.tif")
        open_store(identity, kind=kind).close()
    known = {
        kind: {entry.path.stem for entry in Project(tmp_path, kind).entries() if entry.store is not None}
        for kind in ("gland, stroma", "gland, stroma, debris")
    }
    assert known == {"gland, stroma": {"old"}, "gland, stroma, debris": {"old", "new"}}
