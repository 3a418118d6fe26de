# SPDX-License-Identifier: Apache-2.0
"""What a test does where the machine lacks what it needs: pass over it, and fail where CI=true."""

import os
import shutil
from typing import NoReturn

import pytest


def lacks(reason: str) -> NoReturn:
    """Skip with the reason; fail where CI=true, so that nothing is skipped unseen."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def program(*names: str) -> str:
    """Return the path of the first of these programs that is here; without any, what `lacks` does."""
    found = (path for path in map(shutil.which, names) if path is not None)
    return next(found, None) or lacks(f"no {' or '.join(names)} here")
