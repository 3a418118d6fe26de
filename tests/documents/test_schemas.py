# SPDX-License-Identifier: Apache-2.0
"""The JSON Schemas in the package: current, valid, and true of what every command really prints.

`pytest --update-golden tests/documents/test_schemas.py` writes them anew from the models of report.py.
"""

import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest
from consent import agreed
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from project import PROJECT

import iommuctl
from iommuctl.documents.table import REPORTS
from iommuctl.errors import IommuctlError

SCHEMAS = PROJECT / "iommuctl" / "documents" / "schemas"
KEYS_OF_ALL = ("schema_version", "command")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text(name: str) -> str:
    schema = {"$schema": DIALECT, **REPORTS[name].model_json_schema(mode="serialization", by_alias=True)}
    return json.dumps(schema, indent=2) + "\n"


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "iommuctl", *agreed(arguments), "--root", str(root), "--json"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def result(root: Path, name: str, *arguments: str) -> Mapping[str, object]:
    """Run a command that succeeds; give its JSON, which its schema must know."""
    done = run(root, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    validator(name).validate(document)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("name", REPORTS)
def test_schema_is_that_of_the_model(name: str, request: pytest.FixtureRequest) -> None:
    path = SCHEMAS / f"{name}.json"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(schema_text(name))
    assert path.read_text() == schema_text(name)


def test_no_schema_is_left_over() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{name}.json" for name in REPORTS}


@pytest.mark.parametrize("name", REPORTS)
def test_schema_is_valid_and_closed(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    objects = [schema, *(one for one in schema.get("$defs", {}).values() if one["type"] == "object")]
    assert all(one["additionalProperties"] is False for one in objects)
    # What a reader relies on is always there: a key is null, never missing. `raw` is there where bytes are no text.
    assert all(set(one["required"]) == set(one["properties"]) - {"raw"} for one in objects)
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate({})


def test_every_command_prints_what_its_schema_says(sample_host: Path) -> None:
    never = ("--regenerate", "never")
    assert result(sample_host, "status", "status")["profile"] is None
    assert result(sample_host, "history", "history")["snapshots"] == []
    dry = result(sample_host, "apply", "apply", "passthrough-perf", "--dry-run")
    assert (dry["dry_run"], dry["changed"], dry["snapshot"]) == (True, True, None)
    applied = result(sample_host, "apply", "apply", "passthrough-perf", *never)
    assert (applied["dry_run"], applied["changed"], applied["files"]) == (False, True, dry["files"])
    again = result(sample_host, "apply", "apply", "passthrough-perf", *never)
    assert (again["changed"], again["files"], again["snapshot"]) == (False, [], None)
    assert result(sample_host, "status", "status")["profile"] == "passthrough-perf"
    assert result(sample_host, "recover", "recover")["recovered"] is None
    assert result(sample_host, "rollback", "rollback", "--dry-run", *never)["command"] == "rollback"
    rolled_back = result(sample_host, "rollback", "rollback", *never)
    assert (rolled_back["command"], rolled_back["changed"]) == ("rollback", True)
    snapshots = result(sample_host, "history", "history")["snapshots"]
    assert isinstance(snapshots, list)
    assert [(one["action"], one["state"]) for one in snapshots] == [("rollback", "applied"), ("apply", "rolled_back")]
    shown = result(sample_host, "history", "history", "show", str(applied["snapshot"]))
    assert shown["snapshots"] == snapshots[1:]
    result(sample_host, "profiles", "profile", "list")


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        pytest.param(("apply",), 2, "usage", id="usage, an argument missing"),
        pytest.param(("apply", "passthrough-perf", "--platform", "x"), 2, "usage", id="usage, a wrong value"),
        pytest.param(("apply", "passthrough-perf", "--no-such"), 2, "usage", id="usage, no such option"),
        pytest.param(("apply", "passthrough-perf", "--backend", "x"), 2, "usage", id="usage, no such backend"),
        pytest.param(("apply", "vfio-bind"), 65, "profile", id="an input missing"),
        pytest.param(("apply", "no-such"), 66, "not-found", id="no such profile"),
        pytest.param(("rollback", "--json"), 66, "not-found", id="nothing to roll back"),
    ],
)
def test_an_error_is_one_object_on_stderr(sample_host: Path, arguments: tuple[str, ...], code: int, kind: str) -> None:
    done = run(sample_host, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    document = json.loads(done.stderr)
    validator("error").validate(document)
    assert (document["error"]["code"], document["error"]["kind"]) == (code, kind)


def kinds(error: type[IommuctlError]) -> Iterator[tuple[int, str]]:
    """The code and kind of an error and of those that are made of it."""
    yield error.code, error.kind
    for each in error.__subclasses__():
        yield from kinds(each)


def test_every_kind_of_an_error_is_documented_with_its_code() -> None:
    for _, name, is_package in pkgutil.walk_packages(iommuctl.__path__, "iommuctl."):
        if not is_package and not name.endswith("__main__"):
            import_module(name)
    rows = re.findall(r"^\| (\d+)[\d, ]* \| `([a-z-]+)` \| ", (PROJECT / "docs/json.md").read_text(), re.MULTILINE)
    found = {(129 if kind == "interrupted" else code, kind) for code, kind in kinds(IommuctlError)}
    assert {(int(code), kind) for code, kind in rows} == found


@pytest.mark.parametrize("name", [name for name in REPORTS if name not in ("rollback", "error")])
def test_document_names_every_key(name: str) -> None:
    rows = (PROJECT / "docs" / "json.md").read_text().splitlines()
    (keys,) = [row.split(" | ")[2] for row in rows if f" | `{name}.json` | " in row]
    assert re.findall(r"`(\w+)`", keys) == [key for key in REPORTS[name].model_fields if key not in KEYS_OF_ALL]
