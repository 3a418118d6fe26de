# SPDX-License-Identifier: Apache-2.0
"""Profiles: what an operator asks for, read from TOML and validated. Pure; texts are passed in."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from iommuctl.errors import NotFoundError, ProfileError
from iommuctl.facts import Platform
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import canonical_name

# A value reaches files that sh sources as root, GRUB's script language and sed expressions of generators, so what is
# allowed is listed, not what is forbidden: no quote, `$`, backtick, backslash, blank, control or non-ASCII character,
# none of ; | & < > ( ) { } * ? [ ] ~ # ! ^ %. `:` and `,` are the grammar of vfio-pci.ids, `@` and `/` that of pci=.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_VALUE = re.compile(r"[A-Za-z0-9_.:,=@/+-]{1,1023}")
ALLOWED = "letters, digits and _ . : , = @ / + -"

_PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_RULE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PCI_ID = r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}(:[0-9A-Fa-f]{1,8}){0,4}"  # drivers/vfio/pci/vfio_pci.c vfio_pci_fill_ids

# No quantifier after a quantifier and no group: Python 3.11.2 of Debian 12 matches possessive and atomic ones wrongly.
_PATTERN_ATOM = re.compile(
    r"(?:\[\^?[A-Za-z0-9_.:,=@/+-]+\]|\\[d.]|[A-Za-z0-9_:,=@/-])(?:\{(\d{1,4})(?:,(\d{1,4}))?\}|\?)?"
)
_PATTERN_WAYS = 100_000  # the most ways to match that a pattern may have: a bound on backtracking
MOST_BYTES = 64 * 1024  # of one profile


class InputType(StrEnum):
    """What an input takes: any allowed text, `true` or `false`, or device ids with commas between."""

    STRING = "string"
    BOOL = "bool"
    PCI_IDS = "pci-ids"


class ProfileText(NamedTuple):
    """A profile that was not read yet: its TOML, and the file that an error names."""

    text: str
    source: str


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name) or canonical_name(name).startswith("__"):
        raise ValueError(f"{name!r} is no parameter name: letters, digits and _ . - only")
    return name


def _check_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    _check_name(name)
    if equals:
        check_value(value)
    return parameter


def check_value(value: str) -> str:
    """Let a value pass that no shell, boot loader or generator can misread. Raises ValueError for any other."""
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{value!r} holds something else than {ALLOWED}")
    return value


def _check_pattern(pattern: str) -> str:
    ways, end = 1, 0
    while end < len(pattern):
        atom = _PATTERN_ATOM.match(pattern, end)
        if atom is None:
            raise ValueError(f"{pattern!r} is more than characters, [sets], \\d, \\. with ?, {{n}} or {{m,n}}")
        least, most = int(atom[1] or 0), int(atom[2] or atom[1] or 1)
        ways *= max(1, most - least + 1)
        end = atom.end()
    if ways > _PATTERN_WAYS:
        raise ValueError(f"{pattern!r} can match in more than {_PATTERN_WAYS} ways")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no pattern: {error}") from error
    return pattern


def _check_profile_name(name: str) -> str:
    if not _PROFILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no profile name: lower-case letters, digits and dashes, at most 64")
    return name


def _check_rule(rule: str) -> str:
    if not _RULE.fullmatch(rule):
        raise ValueError(f"{rule!r} is no rule id: lower-case words with dashes between")
    return rule


def _check_text(text: str) -> str:
    # Reasons and messages are printed on terminals: no control character may reach them.
    if not text.strip() or not all(char.isprintable() or char == "\n" for char in text):
        raise ValueError("must hold text without control characters")
    return text


ParameterText = Annotated[str, AfterValidator(_check_parameter)]
Text = Annotated[str, AfterValidator(_check_text)]
InputName = Annotated[str, AfterValidator(_check_name)]
ProfileName = Annotated[str, AfterValidator(_check_profile_name)]
RuleId = Annotated[str, AfterValidator(_check_rule)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OnPlatforms(_Table):
    """Something that holds on some platforms (none named: on all), and only `when` a bool input is true."""

    platforms: tuple[Platform, ...] = ()
    when: InputName | None = None

    @property
    def members(self) -> frozenset[Platform]:
        """The concrete platforms it holds on."""
        return frozenset().union(*(platform.members for platform in self.platforms or Platform))


class _OnParameter(_OnPlatforms):
    """A parameter, as `name` or `name=value`; or its name alone with the value of the input `value_from`."""

    parameter: ParameterText
    value_from: InputName | None = None

    @model_validator(mode="after")
    def _has_one_value(self) -> "_OnParameter":
        if self.value_from is not None and "=" in self.parameter:
            raise ValueError("value_from gives the value, so the parameter must be a name alone")
        return self

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.partition("=")[0]

    @property
    def value(self) -> str | None:
        """The value as written; None where there is none."""
        _, equals, value = self.parameter.partition("=")
        return value if equals else None


class Setting(_OnParameter):
    """A parameter to set."""

    reason: Text


class Absence(_OnParameter):
    """A parameter, or one value or token of it, to remove."""

    reason: Text


class Notice(_OnPlatforms):
    """A finding that the profile always comes with."""

    rule: RuleId
    severity: Severity
    message: Text
    hint: Text | None = None


class Warn(_OnParameter):
    """A parameter, or one value or token of it, that stays where it is found, with a finding."""

    rule: RuleId
    severity: Severity
    message: Text
    hint: Text | None = None


class Refusal(_OnPlatforms):
    """Why the profile is impossible on some platforms."""

    reason: Text


class Reset(_Table):
    """Remove every IOMMU parameter that the catalogue manages."""

    reason: Text


class Input(_Table):
    """Something that `--set NAME=VALUE` fills. `pattern` has to match the whole value."""

    name: InputName
    type: InputType
    description: Text
    pattern: Annotated[str, Field(max_length=200), AfterValidator(_check_pattern)] | None = None
    required: StrictBool = False
    default: str | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> "Input":
        if self.required and self.default is not None:
            raise ValueError("a required input has no default")
        if self.default is not None:
            self.check(self.default)
        return self

    def check(self, value: str) -> str:
        """Return the value as it is written. Raises ValueError for one that the input does not take."""
        check_value(value)
        match self.type:
            case InputType.BOOL:
                if value not in {"true", "false"}:
                    raise ValueError(f"{value!r} is neither 'true' nor 'false'")
            case InputType.PCI_IDS:
                for item in value.split(","):
                    if not re.fullmatch(PCI_ID, item):
                        raise ValueError(f"{item!r} is no device id such as '10de:1b80'")
            case InputType.STRING:
                pass
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise ValueError(f"{value!r} does not match {self.pattern!r}")
        return value


class Profile(_Table):
    """A profile. The tables are in the order of the file; `load_profile` puts those of what it extends in front."""

    name: ProfileName
    summary: Text
    description: Text = ""
    extends: ProfileName | None = None
    inputs: Annotated[tuple[Input, ...], Field(alias="input")] = ()
    sets: Annotated[tuple[Setting, ...], Field(alias="set")] = ()
    absent: tuple[Absence, ...] = ()
    warns: Annotated[tuple[Warn, ...], Field(alias="warn")] = ()
    notices: Annotated[tuple[Notice, ...], Field(alias="notice")] = ()
    refusals: Annotated[tuple[Refusal, ...], Field(alias="refuse")] = ()
    reset: Reset | None = None


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
            f"{_toml_place(str(error), text, source)}: not valid TOML: {str(error) or 'nested too deeply'}"
        ) from error
    try:
        return Profile.model_validate(document)
    except ValidationError as error:
        raise _invalid(error, text, source) from error


def load_profile(name: str, texts: Mapping[str, ProfileText]) -> Profile:
    """Read a profile and everything that it extends, merged; `texts` are those that there are, by name.

    Where a child and its parent speak of the same parameter on the same platform, the child wins.
    Raises ProfileError for an invalid one or a circle, NotFoundError where there is none of that name.
    """
    if name not in texts:
        raise NotFoundError(f"no profile {name!r}", details=_listing(texts))
    profile = _parse_named(name, texts)
    return merge_parents(profile, texts[name].source, texts)


def merge_parents(profile: Profile, source: str, texts: Mapping[str, ProfileText]) -> Profile:
    """Return a profile that was read from `source` together with everything that it extends."""
    seen = [profile.name]
    merged, parent = profile, profile.extends
    while parent is not None:
        if parent in seen:
            raise ProfileError(f"{source}: extends: a circle: {' -> '.join([*seen, parent])}")
        if parent not in texts:
            raise ProfileError(f"{source}: extends: no profile {parent!r}", details=_listing(texts))
        base = _parse_named(parent, texts)
        seen.append(parent)
        merged, parent = _merge(base, merged), base.extends
    _check_inputs(merged, source)
    return merged


def _check_inputs(profile: Profile, source: str) -> None:
    types = {one.name: one.type for one in profile.inputs}
    for entry in (*profile.sets, *profile.absent, *profile.warns, *profile.notices, *profile.refusals):
        value_from = entry.value_from if isinstance(entry, _OnParameter) else None
        for used in (entry.when, value_from):
            if used is not None and used not in types:
                raise ProfileError(f"{source}: no input {used!r} is declared, though it is used")
        if entry.when is not None and types[entry.when] is not InputType.BOOL:
            raise ProfileError(f"{source}: when: the input {entry.when!r} is not of type bool")


def _parse_named(name: str, texts: Mapping[str, ProfileText]) -> Profile:
    profile = parse_profile(*texts[name])
    if profile.name != name:
        raise ProfileError(f"{texts[name].source}: name: {profile.name!r} must be the file's name, {name!r}")
    return profile


def _listing(texts: Iterable[str]) -> tuple[str, ...]:
    return (f"profiles: {', '.join(sorted(texts))}",)


def _merge(base: Profile, child: Profile) -> Profile:
    own = {one.name for one in child.inputs}
    return child.model_copy(
        update={
            "inputs": (*(one for one in base.inputs if one.name not in own), *child.inputs),
            "sets": (*_left(base.sets, (*child.sets, *child.absent)), *child.sets),
            "absent": (*_left(base.absent, (*child.sets, *child.warns)), *child.absent),
            "warns": (*_left(base.warns, (*child.sets, *child.absent)), *child.warns),
            "notices": (*base.notices, *child.notices),
            "refusals": (*base.refusals, *child.refusals),
            "reset": child.reset or base.reset,
        }
    )


_Entry = TypeVar("_Entry", bound=_OnParameter)


def _left(entries: Iterable[_Entry], spoken: Iterable[_OnParameter]) -> Iterable[_Entry]:
    """Return the parent's entries without the platforms on which the child decides the same, unconditionally."""
    decided = [one for one in spoken if one.when is None]
    for entry in entries:
        taken = frozenset[Platform]().union(*(one.members for one in decided if _overrides(one, entry)))
        if not entry.members & taken:
            yield entry
        elif left := entry.members - taken:
            yield entry.model_copy(update={"platforms": tuple(platform for platform in Platform if platform in left)})


def _overrides(child: _OnParameter, parent: _OnParameter) -> bool:
    if canonical_name(child.name) != canonical_name(parent.name):
        return False
    if isinstance(child, Setting) and isinstance(parent, Setting):
        return True
    if child.value_from is not None or parent.value_from is not None:
        return child.value_from == parent.value_from
    if child.value is None or parent.value is None:
        return True
    return bool(set(child.value.split(",")) & set(parent.value.split(",")))


def _toml_place(message: str, text: str, source: str) -> str:
    if line := re.search(r"at line (\d+)", message):
        return f"{source}:{line[1]}"
    return f"{source}:{text.count(chr(10)) + 1}" if "at end of document" in message else source


_FAULTS = {"missing": "is missing", "extra_forbidden": "unknown key"}


def _invalid(error: ValidationError, text: str, source: str) -> ProfileError:
    """Compose the error of a profile that is TOML but no profile: the first fault leads, the others are details."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        line = _line_of(text, fault["loc"])
        where = f"{source}:{line}" if line is not None else source
        message = _FAULTS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
        faults.append(f"{where}: {_field(fault['loc'])}: {message[:1].lower()}{message[1:]}")
    return ProfileError(faults[0], details=faults[1:], hint=f"run iommuctl profile check {source}")


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
