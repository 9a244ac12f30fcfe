"""Which store belongs to an image: beside it, elsewhere, under the name it had before, or a new one."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from napari_unet.correction.arrays import LabelArrays
from napari_unet.correction.identity import identity_in
from napari_unet.correction.places import read_json, replace_json
from napari_unet.correction.recents import recent
from napari_unet.errors import ImageChangedError, StoreError
from napari_unet.images import label_axes
from napari_unet.user_data import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from napari_unet.correction.identity import ImageIdentity

__all__ = ["META", "Found", "WhenChanged", "copy_home", "find", "find_or_make", "has_store", "same_kind"]

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
        _is_same_place(path, known, identity) or (known.digest == identity.digest and _may_come(known, identity))
        for path, known in _stores(identity, kind)
    )


def find(
    identity: ImageIdentity, kind: str, digests: Callable[[], Collection[str]], channels: Collection[int] = ()
) -> tuple[Path, ImageIdentity] | None:
    """Return the store that is there for a file, and which image it is of; nothing is made or moved.

    That may be one of its channels, or another of its resolutions: rather one of `channels`, else all of
    them, else the first; rather the resolution of `identity`.

    Parameters
    ----------
    identity : ImageIdentity
        Its digest is not looked at.
    kind : str
    digests : callable
        The digests that the image or its channels may have had; asked for only where it may have been moved.
    channels : collection of int
        That are of interest.
    """
    here: list[tuple[Path, ImageIdentity]] = []
    elsewhere: list[tuple[Path, ImageIdentity]] = []
    for path, known in _stores(identity, kind):
        (here if _is_same_file(path, known, identity) else elsewhere).append((path, known))

    def distance(one: tuple[Path, ImageIdentity]) -> tuple[bool, bool, int]:
        known = one[1]
        number = -1 if known.channel is None else known.channel
        return known.level != identity.level, known.channel not in channels, number

    if here:
        return min(here, key=distance)
    # channels were once kept as images without a file
    moved = (one for one in elsewhere if _is_gone(one[1]) or (one[1].path is None and one[1].shape != identity.shape))
    return next((one for one in moved if one[1].digest in digests()), None)


def find_or_make(
    identity: ImageIdentity, kind: str, pixel_size_um: dict[str, float], when_changed: WhenChanged
) -> Found:
    """Return the store of an image; see `open_store`."""
    stores = list(_stores(identity, kind))
    for path, known in stores:
        if known.digest == identity.digest and _is_same_place(path, known, identity):
            return Found(path, _where(path, identity))
    for path, known in stores:
        if _is_same_place(path, known, identity):
            changed = _meet_change(path, known, identity, when_changed)
            if changed is not None:
                return changed
            break
    for path, known in stores:
        if known.digest == identity.digest and _may_come(known, identity):
            return _bring_along(path, known, identity, kind)
    return _make(identity, kind, pixel_size_um)


def copy_home(path: Path, identity: ImageIdentity) -> Found:
    """Copy a store that cannot be written to the user's data folder, where it is found instead from then on.

    Raises
    ------
    OSError
        If it cannot be copied.
    """
    home = data_folder() / "stores"
    home.mkdir(parents=True, exist_ok=True)
    stem = f"{path.stem}-{identity.digest[:8]}"
    names = (f"{stem}{end}.zarr" for end in ("", *(f" {number}" for number in range(2, 100))))
    target = next(home / name for name in names if not (home / name).exists())
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.partial")
    try:
        _copy_content(path, temporary)
        meta = read_json(temporary / META)
        replace_json(temporary / META, {**meta, "copy_of": str(path), "copied_when": meta.get("when")})
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Found(target, _where(target, identity))


def superseded(metas: Collection[dict[str, Any]]) -> set[str]:
    """Return the stores that a copy goes on from, of those whose contents are given."""
    return {str(meta["copy_of"]) for meta in metas if "copy_of" in meta}


def same_kind(one: str, other: str) -> bool:
    """Return whether two kinds are the same, or one of them has the classes of the other and some more behind."""
    short, long = sorted((one.split(", "), other.split(", ")), key=len)
    # a single name is a kind of object: classes have the background before them
    return one == other or (len(short) > 1 and long[: len(short)] == short)


def _stores(identity: ImageIdentity, kind: str) -> Iterator[tuple[Path, ImageIdentity]]:
    """Walk the stores of this kind and these axes that may belong to an image, the nearest first.

    Those of the same classes and some more or fewer come last.
    """
    folders = [data_folder() / "stores"]
    if identity.folder is not None:
        folders.insert(0, identity.folder / FOLDER)
    places = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.zarr"))]
    places += [Path(work.store) for work in recent(100)]
    metas = {path: read_json(path / META) for path in dict.fromkeys(places)}
    for original in superseded(metas.values()):
        metas.pop(Path(original), None)
    for path, meta in sorted(metas.items(), key=lambda one: one[1].get("kind") != kind):
        if meta.get("format", 0) > _FORMAT:
            continue  # of a newer version: left alone
        known = identity_in(meta.get("image"))
        if (
            known is not None
            and same_kind(str(meta.get("kind")), kind)
            and label_axes(known.axes) == label_axes(identity.axes)
        ):
            yield path, known


def _is_same_place(path: Path, known: ImageIdentity, identity: ImageIdentity) -> bool:
    """Whether a store was made for this very layer, by its place, name and part of the file alone."""
    if identity.path is None:
        return known.path is None and known.name == identity.name and known.digest == identity.digest
    return known.part == identity.part and _is_same_file(path, known, identity)


def _is_same_file(path: Path, known: ImageIdentity, identity: ImageIdentity) -> bool:
    """Whether a store was made for a layer of this file."""
    if identity.folder is not None and path.parent == identity.folder / FOLDER:
        return known.name == identity.name
    return identity.path is not None and known.path == identity.path


def _may_come(known: ImageIdentity, identity: ImageIdentity) -> bool:
    """Whether corrections of the same pixels are those of this image.

    Its file was moved; or they are of a channel or level, from when these were kept as images without a file.
    """
    if known.path is None:
        return bool(identity.part)
    return _is_gone(known) and known.part == identity.part


def _is_gone(known: ImageIdentity) -> bool:
    """Whether the image of a store is not where it was: it was moved, or renamed, or its folder was."""
    return known.path is not None and "://" not in known.path and not Path(known.path).exists()


def _meet_change(path: Path, known: ImageIdentity, identity: ImageIdentity, when_changed: WhenChanged) -> Found | None:
    """Do what the user wants with corrections of an image that has other pixels now; None: begin anew."""
    fits = known.shape == identity.shape
    if when_changed == "adopt" and fits:
        return Found(path, _where(path, identity))
    if when_changed == "set aside":
        aside = path.with_name(f"{path.stem} until {time.strftime('%Y-%m-%d %H.%M.%S')}.zarr")
        meta = read_json(path / META)
        try:
            replace_json(path / META, {**meta, "image": asdict(replace(known, name=aside.stem, path=None))})
            path.rename(aside)
        except OSError as error:
            raise StoreError(f"{path} cannot be renamed ({error.strerror or error}). Move it away yourself.") from error
        return None
    choice = "Take the corrections over, or set them aside and begin anew?"
    if not fits:
        choice = f"It was {known.shape} and is {identity.shape} now. Set the corrections aside and begin anew?"
    raise ImageChangedError(f"{identity.name} has other pixels than when it was corrected. {choice}")


def _bring_along(path: Path, known: ImageIdentity, identity: ImageIdentity, kind: str) -> Found:
    """Move the store of a moved image to its new place, or leave it where it is if that cannot be."""
    if identity.folder is not None and not (path / "lock").exists():
        for name in _names(identity, kind):
            target = identity.folder / FOLDER / name
            if not target.exists():
                with suppress(OSError):
                    target.parent.mkdir(exist_ok=True)
                    _move(path, target)
                    path = target
                break
    if known.path is None:
        return Found(path, _where(path, identity))
    return Found(path, f"These are the corrections of {known.name}, which is this image under another name or place.")


def _move(path: Path, target: Path) -> None:
    """Move a store, to another disk too; it appears under its name when it is whole."""
    try:
        path.rename(target)
    except OSError:
        temporary = target.with_name(f".{target.name}.{uuid4().hex}.partial")
        try:
            shutil.copytree(path, temporary)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(path, ignore_errors=True)


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
    stem, part = Path(identity.name).stem or "image", f" {identity.part}" if identity.part else ""
    stems = [f"{stem}{part}", f"{identity.name}{part}", f"{stem}{part} {label_axes(identity.axes)}"]
    stems.append(f"{identity.name}{part} {identity.digest[:8]}")
    safe = ["".join("_" if letter in '/\\:*?"<>|' else letter for letter in f"{one}{suffix}") for one in stems]
    return [f"{one}.zarr" for one in dict.fromkeys(safe)]


def _copy_content(source: Path, target: Path) -> None:
    """Copy a folder without its rights, which may be to read only, and without its lock."""
    target.mkdir()
    for one in source.iterdir():
        if one.is_dir():
            _copy_content(one, target / one.name)
        elif not one.name.startswith("lock"):
            shutil.copyfile(one, target / one.name)


def _where(path: Path, identity: ImageIdentity) -> str:
    """Tell the user where corrections are that are not beside the image."""
    if identity.folder is not None and path.parent == identity.folder / FOLDER:
        return ""
    meta = read_json(path / META)
    original = meta.get("copy_of")
    if original is None:
        return f"The corrections of {identity.name} are kept in {path}."
    text = f"The folder of {identity.name} cannot be written: its corrections go on in a copy, {path}."
    if read_json(Path(original) / META).get("when") not in (None, meta.get("copied_when")):
        text += f" Those in {Path(original).parent} have changed since; move the copy away to see them."
    return text
