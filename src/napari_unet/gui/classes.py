"""The classes of a model of classes: one more in the middle of the work, and a model that meets strokes of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.correction import same_kind
from napari_unet.gui.class_document import ClassDocument
from napari_unet.gui.document import kind_of
from napari_unet.models import ClassSpec, ModelSpec, named_classes
from napari_unet.training import with_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.correction import Store
    from napari_unet.gui.workbench import Workbench

__all__ = ["Classes"]

_MOST = 250


class Classes:
    """Keeps model and document at the same classes.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session

    def add(self, name: str, color: str) -> bool:
        """Add a class to the model in use, and choose it to paint; False if that cannot be, which is said."""
        bench, session, spec = self._workbench, self._session, self._workbench.spec
        name = name.strip()
        if spec is None or spec.task != "semantic":
            session.say("Only a model of classes can have another one.", problem=True)
            return False
        known = {"background", *(one.name.lower() for one in spec.classes)}
        if not name or "," in name:
            session.say("Give the new class a name, without a comma.", problem=True)
        elif name.lower() in known:
            session.say(f"There is a class {name!r} already.", problem=True)
        elif len(spec.classes) >= _MOST:
            session.say(f"There can be {_MOST} classes at most.", problem=True)
        else:
            self._extend([*spec.classes, ClassSpec(name=name, color=color)])
            if bench.document is not None:
                bench.correcting.choose_class(len(spec.classes) + 1)
            session.say(f"Paint some strokes of {name!r}, then press Train. What the model knows stays.")
            return True
        return False

    def fits(self, document: object, spec: ModelSpec | None) -> bool:
        """Return whether a document is of the kind of a model, or of the same classes and some more or fewer."""
        kind = kind_of(spec)
        if spec is None or spec.task != "semantic":
            return getattr(document, "kind", None) == kind and not isinstance(document, ClassDocument)
        return isinstance(document, ClassDocument) and (document.kind == kind or same_kind(document.kind, kind))

    def meet(self, store: Store | None = None) -> None:
        """Teach the model in use the classes of what was painted, or the document those of the model."""
        bench, spec = self._workbench, self._workbench.spec
        if spec is None or spec.task != "semantic":
            return
        document = bench.document if store is None else None
        known = store.kind if store is not None else document.kind if document is not None else kind_of(spec)
        names = known.split(", ")[1:]  # but the background
        if len(names) > len(spec.classes):
            store = store or (document.store if document is not None else None)
            colors = store.facts.get("colors", []) if store is not None else []
            count = len(spec.classes)
            more = [
                one if number >= len(colors) else ClassSpec(name=one.name, color=colors[number])
                for number, one in enumerate(named_classes(names[count:], after=count), start=count)
            ]
            self._extend([*spec.classes, *more])
        elif document is not None and isinstance(document, ClassDocument):
            document.show_classes(spec)
        elif store is not None:
            store.kind = kind_of(spec)

    def _extend(self, classes: Sequence[ClassSpec]) -> None:
        bench, spec = self._workbench, self._workbench.spec
        assert spec is not None
        bench.tuning.forget()
        if bench.model is not None:
            bench.choosing.replace(with_classes(bench.model, classes))
        else:
            values = {**spec.model_dump(), "classes": tuple(classes), "maps": ()}
            bench.choosing.replace_draft(ModelSpec.model_validate(values))
        if isinstance(bench.document, ClassDocument) and bench.spec is not None:
            bench.document.show_classes(bench.spec)
