# SPDX-License-Identifier: Apache-2.0
"""Base: what every document is made of: text of any bytes, models of values, and how they are printed."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, WithJsonSchema

from iommuctl.documents.text import bytes_of, is_utf8, shown
from iommuctl.facts import KernelVersion
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.span import Spans

SCHEMA_VERSION: Final = 1


_UNPRINTABLE = re.compile(r"[^\n -~]")


def _text(value: object) -> str:
    """Write a value of the core as text; bytes that are no UTF-8 stay in it as surrogates, for `to_json` to tell."""
    if isinstance(value, str | Cmdline | Kernel | KernelVersion | PurePosixPath):
        return str(value)
    raise ValueError("is no text")


# Pydantic's own validator of text refuses surrogates.
Text = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string"})]


# A word of ours, which Pydantic can hold against a pattern.
Word = Annotated[str, BeforeValidator(_text)]


# The oldest upstream release of those that have something.
Since = Annotated[Text | None, BeforeValidator(lambda value: value.since if isinstance(value, Spans) else value)]


_ROOT_PATH = {"description": "an absolute path as seen inside the root", "type": "string"}
RootPath = Annotated[str, PlainValidator(_text), WithJsonSchema(_ROOT_PATH)]


def _with_raw(schema: dict[str, Any]) -> None:
    schema.setdefault("properties", {})["raw"] = {
        "type": "object",
        "description": "only where a field holds bytes that are no UTF-8: all its bytes in hexadecimal, by its name",
        "additionalProperties": {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    }


class Part(BaseModel):
    """A part of a document."""

    # Every key is always there, those that are the same every time included. Values of the core are taken as they are.
    model_config = ConfigDict(
        frozen=True,
        defer_build=True,  # a command builds the models that it prints, of 40
        extra="forbid",
        from_attributes=True,
        json_schema_serialization_defaults_required=True,
        json_schema_extra=_with_raw,
    )


class Document(Part):
    """A whole document, as one command prints it."""

    schema_version: Literal[1] = SCHEMA_VERSION


M = TypeVar("M", bound=Part)


def report(model: type[M], value: object, **computed: object) -> M:
    """Return a model of a value: each field is the value's attribute of its name, but for those that are `computed`."""
    if not computed:
        return model.model_validate(value)
    taken = {name: getattr(value, name) for name in model.model_fields if name not in computed}
    return model.model_validate(taken | computed)


def reports(model: type[M], values: Iterable[object]) -> tuple[M, ...]:
    """Return a model of each value."""
    return tuple(report(model, value) for value in values)


def to_json(document: BaseModel, *, indent: int | None = 2) -> str:
    """Return a document as it is printed: U+FFFD for a byte that is no UTF-8, and `raw` in its object has them all."""
    try:
        text = document.model_dump_json(indent=indent, by_alias=True)
    except ValueError:  # Pydantic's own, for a surrogate
        told = _told(document.model_dump(mode="json", by_alias=True))
        text = json.dumps(told, indent=indent, separators=None if indent else (",", ":"), ensure_ascii=False)
    # JSON lets a terminal's own characters stand as they are; they may reach one.
    return text if text.isascii() else _UNPRINTABLE.sub(_as_json, text)


def _told(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, dict):
        raw = {shown(name): bytes_of(text).hex() for name, text in _texts_of(value) if not is_utf8(text)}
        told = {shown(name): _told(part) for name, part in value.items()}
        return told | {"raw": raw} if raw else told
    if isinstance(value, list):
        return [_told(part) for part in value]
    return shown(value) if isinstance(value, str) else value


def _texts_of(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, part in value.items():
        for place, text in enumerate(part) if isinstance(part, list) else ((None, part),):
            if isinstance(text, str):
                yield (name if place is None else f"{name}[{place}]"), text


def _as_json(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]
