"""What the user did: edits as pure functions, the undo stack, its store on disk, and copies for training.

Everything is imported on first use: keeping corrections costs neither torch nor napari.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unet.correction.batches import corrections_for
    from napari_unet.correction.edits import (
        IMPORT,
        Box,
        Edit,
        complete_area,
        confirm_object,
        delete_object,
        enclosed_holes,
        mark,
        object_box,
        refill,
        stroke,
    )
    from napari_unet.correction.filling import Refill, pieces, within
    from napari_unet.correction.finding import WhenChanged, has_store, same_kind
    from napari_unet.correction.identity import ImageIdentity, identify
    from napari_unet.correction.import_folder import Imported, import_labels, iter_import_labels
    from napari_unet.correction.importing import (
        Incoming,
        fit_labels,
        import_edit,
        iter_fit_labels,
        iter_read_labels,
        read_labels,
    )
    from napari_unet.correction.journal import Journal
    from napari_unet.correction.large import EditFile
    from napari_unet.correction.objects import ObjectTable, count_pieces
    from napari_unet.correction.opening import open_store, read_about
    from napari_unet.correction.pairing import ROI_SUFFIXES, find_label_pairs
    from napari_unet.correction.project import Entry, Project
    from napari_unet.correction.proposals import Proposal, accept_proposal, propose
    from napari_unet.correction.queue import Place, are_we_done, doubtful_places, is_good_enough, tell_counts
    from napari_unet.correction.reading import Corrected, read_corrections
    from napari_unet.correction.recents import RecentWork, recent
    from napari_unet.correction.snapshots import checked_parts, copy_part, look_for_checked, make_sample, snapshot
    from napari_unet.correction.store import Store
    from napari_unet.correction.through_z import extend_object, interpolate_object
    from napari_unet.correction.tools import cut_object, fill_holes, merge_objects, split_object
    from napari_unet.correction.versions import (
        LabelVersion,
        iter_keep_version,
        keep_version,
        list_versions,
        open_version,
    )
    from napari_unet.correction.writer import Saving

_HOMES = {
    "batches": ["corrections_for"],
    "edits": [
        "IMPORT", "Box", "Edit", "complete_area", "confirm_object", "delete_object", "enclosed_holes", "mark",
        "object_box", "refill", "stroke",
    ],
    "filling": ["Refill", "pieces", "within"],
    "finding": ["WhenChanged", "has_store", "same_kind"],
    "identity": ["ImageIdentity", "identify"],
    "import_folder": ["Imported", "import_labels", "iter_import_labels"],
    "importing": ["Incoming", "fit_labels", "import_edit", "iter_fit_labels", "iter_read_labels", "read_labels"],
    "journal": ["Journal"],
    "large": ["EditFile"],
    "objects": ["ObjectTable", "count_pieces"],
    "opening": ["open_store", "read_about"],
    "pairing": ["ROI_SUFFIXES", "find_label_pairs"],
    "project": ["Entry", "Project"],
    "proposals": ["Proposal", "accept_proposal", "propose"],
    "queue": ["Place", "are_we_done", "doubtful_places", "is_good_enough", "tell_counts"],
    "reading": ["Corrected", "read_corrections"],
    "recents": ["RecentWork", "recent"],
    "snapshots": ["checked_parts", "copy_part", "look_for_checked", "make_sample", "snapshot"],
    "store": ["Store"],
    "through_z": ["extend_object", "interpolate_object"],
    "tools": ["cut_object", "fill_holes", "merge_objects", "split_object"],
    "versions": ["LabelVersion", "iter_keep_version", "keep_version", "list_versions", "open_version"],
    "writer": ["Saving"],
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "IMPORT",
    "ROI_SUFFIXES",
    "Box",
    "Corrected",
    "Edit",
    "EditFile",
    "Entry",
    "ImageIdentity",
    "Imported",
    "Incoming",
    "Journal",
    "LabelVersion",
    "ObjectTable",
    "Place",
    "Project",
    "Proposal",
    "RecentWork",
    "Refill",
    "Saving",
    "Store",
    "WhenChanged",
    "accept_proposal",
    "are_we_done",
    "checked_parts",
    "complete_area",
    "confirm_object",
    "copy_part",
    "corrections_for",
    "count_pieces",
    "cut_object",
    "delete_object",
    "doubtful_places",
    "enclosed_holes",
    "extend_object",
    "fill_holes",
    "find_label_pairs",
    "fit_labels",
    "has_store",
    "identify",
    "import_edit",
    "import_labels",
    "interpolate_object",
    "is_good_enough",
    "iter_fit_labels",
    "iter_import_labels",
    "iter_keep_version",
    "iter_read_labels",
    "keep_version",
    "list_versions",
    "look_for_checked",
    "make_sample",
    "mark",
    "merge_objects",
    "object_box",
    "open_store",
    "open_version",
    "pieces",
    "propose",
    "read_about",
    "read_corrections",
    "read_labels",
    "recent",
    "refill",
    "same_kind",
    "snapshot",
    "split_object",
    "stroke",
    "tell_counts",
    "within",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'napari_unet.correction' has no attribute {name!r}")
    return getattr(import_module(f"napari_unet.correction.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
