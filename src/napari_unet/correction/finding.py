"""Which store belongs to an image: beside it, elsewhere, under the name it had before, or a new one."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from napari_unet.correction.arrays import LabelArrays
from napari_unet.correction.places import read_json, replace_json
from napari_unet.correction.recents import recent
from napari_unet.errors import ImageChangedError, StoreError
from napari_unet.images import label_axes
from napari_unet.user_data import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from napari_unet.correction.identity import ImageIdentity

__all__ = ["META", "Found", "WhenChanged", "find", "find_or_make", "has_store", "same_kind"]

META = "napari-unet.json"
FOLDER = "napari-unet"
_FORMAT = 1

WhenChanged = Literal["refuse", "adopt", "set aside"]


@dataclass(frozen=True)
class Found:
    """A store, and what the user should be told about where it is."""

    path: Path
    notice: str = ""


def has_store(identity: ImageIdentity, kind: str) -> bool:
    """Return whether there are corrections of an image: beside it, elsewhere, or from when it had another name."""
    return any(
        _is_same_place(path, image, identity) or (image["digest"] == identity.digest and _is_gone(image))
        for path, image in _stores(identity, kind)
    )


def find(
    identity: ImageIdentity, kind: str, digests: Callable[[], Collection[str]]
) -> tuple[Path, dict[str, Any]] | None:
    """Return the store that is there for an image, and what it knows of the image; nothing is made or moved.

    Parameters
    ----------
    identity : ImageIdentity
        Its digest is not looked at.
    kind : str
    digests : callable
        The digests that the image may have had; asked for only where it may have been moved.
    """
    elsewhere = []
    for path, image in _stores(identity, kind):
        if _is_same_place(path, image, identity):
            return path, image
        elsewhere.append((path, image))
    return next((one for one in elsewhere if _is_gone(one[1]) and one[1]["digest"] in digests()), None)


def find_or_make(
    identity: ImageIdentity, kind: str, pixel_size_um: dict[str, float], when_changed: WhenChanged
) -> Found:
    """Return the store of an image; see `open_store`."""
    stores = list(_stores(identity, kind))
    for path, image in stores:
        if image["digest"] == identity.digest and _is_same_place(path, image, identity):
            return Found(path, _where(path, identity))
    for path, image in stores:
        if _is_same_place(path, image, identity):
            changed = _meet_change(path, image, identity, when_changed)
            if changed is not None:
                return changed
            break
    for path, image in stores:
        if image["digest"] == identity.digest and _is_gone(image):
            return _bring_along(path, image, identity, kind)
    return _make(identity, kind, pixel_size_um)


def same_kind(one: str, other: str) -> bool:
    """Return whether two kinds are the same, or one of them has the classes of the other and some more behind."""
    short, long = sorted((one.split(", "), other.split(", ")), key=len)
    # a single name may be a kind of object
    return one == other or (len(short) > 1 and long[: len(short)] == short)


def _stores(identity: ImageIdentity, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Walk the stores of this kind and these axes that may belong to an image, the nearest first.

    Those of the same classes and some more or fewer come last.
    """
    folders = [data_folder() / "stores"]
    if identity.folder is not None:
        folders.insert(0, identity.folder / FOLDER)
    places = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.zarr"))]
    places += [Path(work.store) for work in recent(100)]
    metas = {path: read_json(path / META) for path in dict.fromkeys(places)}
    for path, meta in sorted(metas.items(), key=lambda one: one[1].get("kind") != kind):
        image = meta.get("image", {})
        if meta.get("format", 0) > _FORMAT:
            continue  # of a newer version: left alone
        is_whole = {"digest", "axes", "shape", "name", "path"} <= set(image)
        if (
            is_whole
            and same_kind(str(meta.get("kind")), kind)
            and label_axes(image["axes"]) == label_axes(identity.axes)
        ):
            yield path, image


def _is_same_place(path: Path, image: dict[str, Any], identity: ImageIdentity) -> bool:
    """Whether a store was made for this very file or layer, by its place and name alone."""
    if identity.path is None:
        return image["path"] is None and image["name"] == identity.name and image["digest"] == identity.digest
    if identity.folder is not None and path.parent == identity.folder / FOLDER:
        return bool(image["name"] == identity.name)
    return bool(image["path"] == identity.path)


def _is_gone(image: dict[str, Any]) -> bool:
    """Whether the image of a store is not where it was: it was moved, or renamed, or its folder was."""
    if image["path"] is None:
        return False
    return "://" not in image["path"] and not Path(image["path"]).exists()


def _meet_change(path: Path, image: dict[str, Any], identity: ImageIdentity, when_changed: WhenChanged) -> Found | None:
    """Do what the user wants with corrections of an image that has other pixels now; None: begin anew."""
    fits = tuple(image["shape"]) == identity.shape
    if when_changed == "adopt" and fits:
        return Found(path, _where(path, identity))
    if when_changed == "set aside":
        aside = path.with_name(f"{path.stem} until {time.strftime('%Y-%m-%d %H.%M.%S')}.zarr")
        meta = read_json(path / META)
        try:
            replace_json(path / META, {**meta, "image": {**image, "name": aside.stem, "path": None}})
            path.rename(aside)
        except OSError as error:
            raise StoreError(f"{path} cannot be renamed ({error.strerror or error}). Move it away yourself.") from error
        return None
    choice = "Take the corrections over, or set them aside and begin anew?"
    if not fits:
        choice = (
            f"It was {tuple(image['shape'])} and is {identity.shape} now. Set the corrections aside and begin anew?"
        )
    raise ImageChangedError(f"{identity.name} has other pixels than when it was corrected. {choice}")


def _bring_along(path: Path, image: dict[str, Any], identity: ImageIdentity, kind: str) -> Found:
    """Move the store of a moved image to its new place, or leave it where it is if that cannot be."""
    if identity.folder is not None and not (path / "lock").exists():
        for name in _names(identity, kind):
            target = identity.folder / FOLDER / name
            if not target.exists():
                with suppress(OSError):
                    target.parent.mkdir(exist_ok=True)
                    path.rename(target)
                    path = target
                break
    return Found(
        path, f"These are the corrections of {image['name']}, which is this image under another name or place."
    )


def _make(identity: ImageIdentity, kind: str, pixel_size_um: dict[str, float]) -> Found:
    problem: OSError | None = None
    home = data_folder() / "stores"
    places = [] if identity.folder is None else [(identity.folder / FOLDER, _names(identity, kind))]
    elsewhere = [f"{Path(name).stem}-{identity.digest[:8]}.zarr" for name in _names(identity, kind)]
    for folder, names in [*places, (home, elsewhere)]:
        path = next((folder / name for name in names if not (folder / name).exists()), None)
        if path is None:
            continue
        try:
            if folder == home:
                folder.mkdir(parents=True, exist_ok=True)
            else:
                folder.mkdir(exist_ok=True)
            _make_at(path, identity, kind, pixel_size_um)
        except OSError as error:
            problem = error
            continue
        return Found(path, _where(path, identity))
    raise StoreError(
        f"The corrections of {identity.name} can be kept neither beside it nor in {home} ({problem}). "
        "Free some space, or open the image from a folder that you may write to."
    )


def _make_at(path: Path, identity: ImageIdentity, kind: str, pixel_size_um: dict[str, float]) -> None:
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    axes = label_axes(identity.axes)
    shape = tuple(n for letter, n in zip(identity.axes, identity.shape, strict=True) if letter in axes)
    try:
        LabelArrays.create(temporary, axes, shape, pixel_size_um, source=identity.path or identity.name)
        meta = {
            "format": _FORMAT,
            "kind": kind,
            "image": asdict(identity),
            "pixel_size_um": pixel_size_um,
            "folded": 0,
            "when": time.time(),
        }
        replace_json(temporary / META, meta)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _names(identity: ImageIdentity, kind: str) -> list[str]:
    """Return the names a store may have, the plainest first: another image may have taken it."""
    suffix = "" if kind == "object" else f" {kind}"
    stem = Path(identity.name).stem or "image"
    stems = [stem, identity.name, f"{stem} {label_axes(identity.axes)}", f"{identity.name} {identity.digest[:8]}"]
    safe = ["".join("_" if letter in '/\\:*?"<>|' else letter for letter in f"{one}{suffix}") for one in stems]
    return [f"{one}.zarr" for one in dict.fromkeys(safe)]


def _where(path: Path, identity: ImageIdentity) -> str:
    """Tell the user where corrections are that are not beside the image."""
    if identity.folder is not None and path.parent == identity.folder / FOLDER:
        return ""
    return f"The corrections of {identity.name} are kept in {path}."
