# SPDX-License-Identifier: Apache-2.0
"""Programs that build and judge packages: without one its test is skipped, and fails where CI=true."""

import os
import shutil

import pytest


def required_program(name: str) -> str:
    """Give the path of a program."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
