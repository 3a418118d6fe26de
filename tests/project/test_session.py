# SPDX-License-Identifier: Apache-2.0
"""The picture in the README is what the program prints."""

import re
import runpy

import pytest
from project import PROJECT


def plain(picture: str) -> str:
    """The picture without the fingerprint, which is a hash of all that a plan rests on."""
    return re.sub(r"fingerprint: [0-9a-f]{64}", "fingerprint: FINGERPRINT", picture)


@pytest.mark.slow
def test_the_picture_is_what_the_program_prints() -> None:
    script = runpy.run_path(str(PROJECT / "scripts" / "session.py"))
    assert plain(script["session"]()) == plain((PROJECT / "docs" / "session.svg").read_text()), (
        "python scripts/session.py"
    )
