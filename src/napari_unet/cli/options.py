"""Options of a command that are the fields of a settings class: one source for the panel, Python and this."""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

__all__ = ["PredictCommand", "chosen"]


class PredictCommand(TyperCommand):
    """A command that also takes the fields of `PredictConfig`, other than those that it names itself.

    They are looked up when the command runs or explains itself: torch is slow to import.
    """

    own = ("channels", "object_diameter_px", "device")

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the function, those of the settings, and --help last."""
        from napari_unet.prediction import PredictConfig

        *first, last = super().get_params(ctx)
        if not hasattr(self, "_settings"):
            self._settings = _options(PredictConfig, self.own)
        return [*first, *self._settings, last]


def chosen(ctx: Any) -> dict[str, Any]:
    """Return the settings that were given on the command line."""
    given: dict[str, Any] = ctx.meta.get(__name__, {})
    return given


def _options(settings: type[BaseModel], left_out: tuple[str, ...]) -> list[Any]:
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, field))
        for name, field in settings.model_fields.items()
        if name not in left_out
    ]

    def taker(**_: Any) -> None:
        """Take the settings."""

    taker.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    taker.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(taker)
    return list(typer.main.get_command(app).params)


def _option(name: str, field: FieldInfo) -> Any:
    kind = _kind(field.annotation)
    many = get_origin(kind) is tuple
    word = f"--{name.replace('_', '-')}"

    def keep(ctx: typer.Context, value: Any) -> None:
        if value is not None:
            ctx.meta.setdefault(__name__, {})[name] = tuple(value.split(",")) if many else value

    option = typer.Option(
        f"{word}/--no-{word[2:]}" if kind is bool else word,
        help=(field.description or "").replace("None:", "Default:"),
        metavar="N,N,..." if many else None,
        callback=keep,
        expose_value=False,
    )
    return Annotated[(str if many else kind) | None, option]


def _kind(annotation: Any) -> Any:
    """Return the type of a field without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(_kind(one) for one in get_args(annotation) if one is not type(None))
    return annotation
