# SPDX-License-Identifier: Apache-2.0
"""SHA-256 is what everybody calls so, whatever Python was built with, and does without OpenSSL."""

import hashlib
import subprocess
import sys

import pytest
from project import PROJECT

from iommuctl import sha256


@pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 300])
def test_it_is_what_hashlib_gives(content: bytes) -> None:
    assert sha256.hexadecimal(content) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("missing", "loads_openssl"),
    [((), False), (("_sha256", "_sha2"), True)],
    ids=["as Python is built", "built without hashes of its own"],
)
def test_openssl_is_loaded_only_where_python_has_no_sha256(missing: tuple[str, ...], loads_openssl: bool) -> None:
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({missing!r}))\nfrom iommuctl import sha256\n"
        "print(sha256.hexadecimal(b'')[:8], 'hashlib' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == f"e3b0c442 {loads_openssl}\n"
