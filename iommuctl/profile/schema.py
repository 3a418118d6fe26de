# SPDX-License-Identifier: Apache-2.0
"""Schema: the Pydantic models that define every profile. Imported only to read one that a user wrote, and by tests."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from iommuctl.errors import ProfileError
from iommuctl.facts import Platform
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import Parameter
from iommuctl.kernel.spelling import meant
from iommuctl.profile.checks import (
    check_name,
    check_pattern,
    check_profile_name,
    check_profile_parameter,
    check_rule,
    check_text,
)
from iommuctl.profile.profile import (
    MOST_BYTES,
    Absence,
    Input,
    InputType,
    Notice,
    Profile,
    Refusal,
    Reset,
    Setting,
    Warn,
)

ParameterText = Annotated[str, AfterValidator(check_profile_parameter)]
Text = Annotated[str, AfterValidator(check_text)]
InputName = Annotated[str, AfterValidator(check_name)]
ProfileName = Annotated[str, AfterValidator(check_profile_name)]
RuleId = Annotated[str, AfterValidator(check_rule)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OnPlatforms(_Table):
    """Something that holds on some platforms (none named: on all), and only `when` a bool input is true."""

    platforms: tuple[Platform, ...] = ()
    when: InputName | None = None


class _OnParameter(_OnPlatforms):
    """A parameter, as `name` or `name=value`; or its name alone with the value of the input `value_from`."""

    parameter: ParameterText
    value_from: InputName | None = None

    @model_validator(mode="after")
    def _has_one_value(self) -> "_OnParameter":
        if self.value_from is not None and "=" in self.parameter:
            raise ValueError("value_from gives the value, so the parameter must be a name alone")
        return self


class SettingModel(_OnParameter):
    """A `[[set]]`."""

    reason: Text

    def value(self) -> Setting:
        """Return it as the rest of the package knows it."""
        return Setting(Parameter.parse(self.parameter), self.reason, self.value_from, self.platforms, self.when)


class AbsenceModel(_OnParameter):
    """An `[[absent]]`."""

    reason: Text

    def value(self) -> Absence:
        """Return it as the rest of the package knows it."""
        return Absence(Parameter.parse(self.parameter), self.reason, self.value_from, self.platforms, self.when)


class NoticeModel(_OnPlatforms):
    """A `[[notice]]`."""

    rule: RuleId
    severity: Severity
    message: Text
    hint: Text | None = None

    def value(self) -> Notice:
        """Return it as the rest of the package knows it."""
        return Notice(self.rule, self.severity, self.message, self.hint, self.platforms, self.when)


class WarnModel(_OnParameter):
    """A `[[warn]]`."""

    rule: RuleId
    severity: Severity
    message: Text
    hint: Text | None = None

    def value(self) -> Warn:
        """Return it as the rest of the package knows it."""
        parameter = Parameter.parse(self.parameter)
        named = (self.value_from, self.platforms, self.when)
        return Warn(parameter, self.rule, self.severity, self.message, self.hint, *named)


class RefusalModel(_OnPlatforms):
    """A `[[refuse]]`."""

    reason: Text

    def value(self) -> Refusal:
        """Return it as the rest of the package knows it."""
        return Refusal(self.reason, self.platforms, self.when)


class ResetModel(_Table):
    """The table `[reset]`."""

    reason: Text

    def value(self) -> Reset:
        """Return it as the rest of the package knows it."""
        return Reset(self.reason)


class InputModel(_Table):
    """An `[[input]]`."""

    name: InputName
    type: InputType
    description: Text
    pattern: Annotated[str, Field(max_length=200), AfterValidator(check_pattern)] | None = None
    required: StrictBool = False
    default: str | None = None
    alternative: InputName | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> "InputModel":
        if self.required and self.default is not None:
            raise ValueError("a required input has no default")
        if self.default is not None:
            self.value().check(self.default)
        return self

    def value(self) -> Input:
        """Return it as the rest of the package knows it."""
        return Input(
            self.name, self.type, self.description, self.pattern, self.required, self.default, self.alternative
        )


class ProfileModel(_Table):
    """A profile's file. The tables are in the order of the file."""

    name: ProfileName
    summary: Text
    description: Text = ""
    extends: ProfileName | None = None
    inputs: Annotated[tuple[InputModel, ...], Field(alias="input")] = ()
    sets: Annotated[tuple[SettingModel, ...], Field(alias="set")] = ()
    absent: tuple[AbsenceModel, ...] = ()
    warns: Annotated[tuple[WarnModel, ...], Field(alias="warn")] = ()
    notices: Annotated[tuple[NoticeModel, ...], Field(alias="notice")] = ()
    refusals: Annotated[tuple[RefusalModel, ...], Field(alias="refuse")] = ()
    reset: ResetModel | None = None

    def value(self) -> Profile:
        """Return it as the rest of the package knows it."""
        return Profile(
            self.name,
            self.summary,
            self.description,
            self.extends,
            tuple(one.value() for one in self.inputs),
            tuple(one.value() for one in self.sets),
            tuple(one.value() for one in self.absent),
            tuple(one.value() for one in self.warns),
            tuple(one.value() for one in self.notices),
            tuple(one.value() for one in self.refusals),
            None if self.reset is None else self.reset.value(),
        )


def parse_profile(text: str, source: str) -> Profile:
    """Read one profile, without what it extends.

    Raises ProfileError that names `source`, the line where it can be told, and the field.
    """
    if len(text) > MOST_BYTES:
        raise ProfileError(f"{source}: larger than {MOST_BYTES} bytes")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileError(
            f"{_toml_place(str(error), text, source)}: not valid TOML: {_toml_fault(str(error))}",
            hint=f"edit that file, then run iommuctl profile check {source}",
        ) from error
    try:
        model = ProfileModel.model_validate(document)
    except ValidationError as error:
        raise _invalid(error, text, source) from error
    return model.value()


def _toml_place(message: str, text: str, source: str) -> str:
    if line := re.search(r"at line (\d+)", message):
        return f"{source}:{line[1]}"
    return f"{source}:{text.count(chr(10)) + 1}" if "at end of document" in message else source


def _toml_fault(message: str) -> str:
    """What is wrong with the TOML, without the place; the reader's message begins with a capital."""
    said = re.sub(r" \(at .*\)$", "", message)
    return f"{said[:1].lower()}{said[1:]}" or "nested too deeply"


_FAULTS = {
    "missing": "is missing",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
}


def _invalid(error: ValidationError, text: str, source: str) -> ProfileError:
    """Compose the error of a profile that is TOML but no profile: the first fault leads, the others are details."""
    faults = []
    for fault in error.errors(include_url=False):
        line = _line_of(text, fault["loc"])
        where = f"{source}:{line}" if line is not None else source
        said = _said(fault["type"], fault["loc"], fault["input"], fault.get("ctx", {}))
        faults.append(f"{where}: {_field(fault['loc'])}: {said}")
    hint = f"edit that file, then run iommuctl profile check {source}"
    return ProfileError(faults[0], details=faults[1:], hint=hint)


def _said(kind: str, location: tuple[str | int, ...], given: object, about: Mapping[str, object]) -> str:
    """What is wrong with a field, in words of ours, and which one seems to be meant."""
    match kind:
        case "value_error":
            return str(about["error"])
        case "enum":
            expected = str(about.get("expected", ""))
            choices = re.findall(r"'([^']*)'", expected)
            return f"must be {expected}{_meant(given, choices)}"
        case "extra_forbidden":
            return f"unknown key{_meant(location[-1], _keys(location[:-1]))}"
        case "string_too_long":
            return f"must be no longer than {about.get('max_length')} characters"
        case _:
            return _FAULTS.get(kind, "is not what belongs there")


def _meant(word: object, candidates: Iterable[str]) -> str:
    right = meant(word, candidates) if isinstance(word, str) else None
    return "" if right is None else f"; did you mean {right!r}?"


def _keys(table: tuple[str | int, ...]) -> Iterable[str]:
    """Return the keys that a table of a profile's file may have."""
    for name, field in ProfileModel.model_fields.items():
        if not table:
            yield field.alias or name
        elif table[0] == (field.alias or name):
            held = (field.annotation, *get_args(field.annotation))
            for model in held:
                if isinstance(model, type) and issubclass(model, BaseModel):
                    yield from model.model_fields


def _field(location: tuple[str | int, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return path if path.isprintable() else repr(path)


def _line_of(text: str, location: tuple[str | int, ...]) -> int | None:
    """Find the line of a key, counted from 1; that of its table where the key is not there; None for neither."""
    lines = text.split("\n")
    start, header = 0, None
    keys = [part for part in location if isinstance(part, str)]
    if len(location) > 1:
        table = re.compile(rf"\s*\[\[?\s*{re.escape(keys[0])}\s*\]")
        headers = [number for number, line in enumerate(lines, 1) if table.match(line)]
        position = location[1] if isinstance(location[1], int) else 0
        if position >= len(headers):
            return _line_of(text, location[:1])
        header = start = headers[position]
    key = re.compile(rf"""\s*["']?{re.escape(keys[-1])}["']?\s*=""") if keys else None
    for number, line in enumerate(lines[start:], start + 1):
        if line.lstrip().startswith("["):
            break
        if key is not None and key.match(line):
            return number
    return header
