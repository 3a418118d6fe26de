# SPDX-License-Identifier: Apache-2.0
"""SHA-256 by Python's own code, as its `random` has it: hashlib loads OpenSSL first, 3 ms and 4 MiB of every run."""

import sys

__all__ = ["hexadecimal"]

try:
    if sys.version_info >= (3, 12):
        from _sha2 import sha256  # type: ignore[import-not-found] # private, so without a type
    else:
        from _sha256 import sha256  # type: ignore[import-not-found] # the same
except ModuleNotFoundError:  # built without, where nothing but OpenSSL may hash
    from hashlib import sha256


def hexadecimal(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    digest: str = sha256(content).hexdigest()
    return digest
