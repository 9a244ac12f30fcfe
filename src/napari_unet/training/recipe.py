"""A recipe as a file: TOML that a biologist can read and change."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

Config = TypeVar("Config", bound=BaseModel)

__all__ = ["from_toml", "to_toml"]


def to_toml(config: BaseModel) -> str:
    """Return every setting with its explanation above it; one that is not set stands as a comment."""
    return "\n".join(_lines(config, "")).strip() + "\n"


def from_toml(kind: type[Config], path: str | Path) -> Config:
    """Read settings; those that the file does not name have their defaults.

    Raises
    ------
    ConfigError
        If there is no such file, it is no TOML, or a setting is unknown or out of its range.
    """
    path = Path(path)
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        known = ", ".join(kind.model_fields)
        advice = f"There are: {known}." if first["type"] == "extra_forbidden" else "Change it there."
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path.name}: {name + ': ' if name else ''}{message}. {advice}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The recipe {path} cannot be read ({error}). Check the file.") from error


def _lines(config: BaseModel, table: str) -> Iterator[str]:
    nested = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            nested[name] = value
            continue
        yield ""
        yield from (f"# {line.strip()}" for line in (field.description or "").splitlines())
        yield f"# {name} =" if value is None else f"{name} = {_toml(value)}"
    for name, value in nested.items():
        inner = f"{table}.{name}".lstrip(".")
        yield from ("", f"[{inner}]")
        yield from _lines(value, inner)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
