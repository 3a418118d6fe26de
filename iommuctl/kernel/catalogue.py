# SPDX-License-Identifier: Apache-2.0
"""Catalogue files: from the TOML of the package to the catalogue. Pure; texts are passed in."""

import re
import tomllib
from collections.abc import Iterable, Mapping

from iommuctl.errors import InternalError
from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import canonical_name
from iommuctl.kernel.parameters import (
    Advice,
    Architecture,
    Availability,
    Catalogue,
    Definition,
    Grammar,
    Kind,
    Manages,
    Myth,
    Token,
)

_VERSION = re.compile(r"\d{1,2}\.\d{1,3}")
_STRINGS = frozenset(
    {
        *("name", "kind", "grammar", "manages", "summary", "source", "default", "effect", "same_as", "replacement"),
        *("deprecated_since", "unsafe", "meaning", "group", "value", "mend", "on", "since", "until"),
        "question",
    }
)


def parse_catalogue(texts: Mapping[str, str]) -> Catalogue:
    """Read the catalogue from TOML texts by file name.

    Raises InternalError that names file and parameter: the catalogue is ours, so a fault in it is a defect.
    """
    definitions: list[Definition] = []
    by_key: dict[str, Definition] = {}
    for name, text in texts.items():
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InternalError(f"catalogue {name}: {error}") from error
        for table in _tables(document.pop("parameter", []), name):
            definition = _definition(table, f"catalogue {name}: {table.get('name', 'a parameter')}")
            key = canonical_name(definition.name)
            if key in by_key:
                raise InternalError(f"catalogue {name}: {definition.name!r} stands twice")
            by_key[key] = definition
            definitions.append(definition)
        if document:
            raise InternalError(f"catalogue {name}: unknown table {next(iter(document))!r}")
    return Catalogue(tuple(definitions), by_key)


def _definition(table: dict[str, object], where: str) -> Definition:
    available = tuple(_availability(span, where) for span in _tables(table.pop("available", []), where))
    tokens = tuple(_token(token, where) for token in _tables(table.pop("token", []), where))
    myths = tuple(Myth(**_strings(myth, where)) for myth in _tables(table.pop("myth", []), where))
    advice = tuple(_advice(one, where) for one in _tables(table.pop("advice", []), where))
    platforms = _texts(table.pop("platforms", []), where)
    conflicts = _texts(table.pop("conflicts", []), where)
    kconfig = _texts(table.pop("kconfig", []), where)
    notes = _texts(table.pop("notes", []), where)
    deprecated = _version(table.pop("deprecated_since", None), where)
    values = _strings(table, where)
    try:
        return Definition(
            kind=Kind(values.pop("kind")),
            grammar=Grammar(values.pop("grammar")),
            manages=Manages(values.pop("manages")),
            available=available,
            platforms=tuple(Platform(name) for name in platforms),
            kconfig=kconfig,
            notes=notes,
            deprecated_since=deprecated,
            tokens=tokens,
            myths=myths,
            conflicts=conflicts,
            advice=advice,
            **values,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InternalError(f"{where}: {error}") from error


def _token(table: dict[str, object], where: str) -> Token:
    available = tuple(_availability(span, where) for span in _tables(table.pop("available", []), where))
    deprecated = _version(table.pop("deprecated_since", None), where)
    inert = _version(table.pop("inert_since", None), where)
    conflicts = _texts(table.pop("conflicts", []), where)
    unsafe, exact = _flag(table, "unsafe", where), _flag(table, "exact", where)
    takes_value, ends_list = _flag(table, "takes_value", where), _flag(table, "ends_list", where)
    try:
        return Token(
            available=available,
            deprecated_since=deprecated,
            unsafe=unsafe,
            exact=exact,
            takes_value=takes_value,
            ends_list=ends_list,
            inert_since=inert,
            conflicts=conflicts,
            **_strings(table, where),
        )
    except TypeError as error:
        raise InternalError(f"{where}: {error}") from error


def _advice(table: dict[str, object], where: str) -> Advice:
    answer, values = _texts(table.pop("answer", []), where), _texts(table.pop("values", []), where)
    try:
        return Advice(answer=answer, values=values, **_strings(table, where))
    except TypeError as error:
        raise InternalError(f"{where}: {error}") from error


def _availability(table: dict[str, object], where: str) -> Availability:
    since, until = _version(table.pop("since", None), where), _version(table.pop("until", None), where)
    try:
        return Availability(Architecture(str(table.pop("on", ""))), since, until)
    except ValueError as error:
        raise InternalError(f"{where}: {error}") from error


def _version(value: object, where: str) -> KernelVersion | None:
    if value is None:
        return None
    version = KernelVersion.parse(value) if isinstance(value, str) and _VERSION.fullmatch(value) else None
    if version is None:
        raise InternalError(f"{where}: not a kernel version: {value!r}")
    return version


def _flag(table: dict[str, object], key: str, where: str) -> bool:
    value = table.pop(key, False)
    if not isinstance(value, bool):
        raise InternalError(f"{where}: {key!r} cannot be {value!r}")
    return value


def _strings(table: Mapping[str, object], where: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in table.items():
        if key not in _STRINGS or not isinstance(value, str):
            raise InternalError(f"{where}: {key!r} cannot be {value!r}")
        values[key] = value
    return values


def _texts(values: object, where: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InternalError(f"{where}: not a list of strings: {values!r}")
    return tuple(values)


def _tables(values: object, where: str) -> Iterable[dict[str, object]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InternalError(f"{where}: not a list of tables: {values!r}")
    return values
