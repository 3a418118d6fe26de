# SPDX-License-Identifier: Apache-2.0
"""Where the project's own directories are, and the reference next to it."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "iommuctl"
TESTS = PROJECT / "tests"
GOLDEN = TESTS / "golden"
FIXTURES = TESTS / "fixtures"
SHARED = PROJECT.parent / "shared"
