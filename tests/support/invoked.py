# SPDX-License-Identifier: Apache-2.0
"""A command that is run on a tree in this process, and its JSON held against its schema."""

import json
from collections.abc import Mapping
from pathlib import Path

from consent import agreed
from jsonschema import Draft202012Validator
from project import PACKAGE
from typer.testing import CliRunner

from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import IommuctlError

SCHEMAS = PACKAGE / "documents" / "schemas"


def invoke(root: Path, *arguments: str) -> tuple[int, str]:
    """Run a command on a tree; give exit code and stdout, or what an error says."""
    result = CliRunner().invoke(application, [*agreed(arguments), "--root", str(root)], obj=Session())
    if isinstance(result.exception, IommuctlError):
        return result.exception.code, result.exception.brief
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout


def report(root: Path, schema: str, *arguments: str) -> tuple[int, Mapping[str, object]]:
    """Run a command with --json; its schema must know the result."""
    code, text = invoke(root, *arguments, "--json")
    document = json.loads(text)
    Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text())).validate(document)
    assert isinstance(document, dict)
    return code, document
