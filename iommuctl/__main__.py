# SPDX-License-Identifier: Apache-2.0
"""`python -m iommuctl`."""

from iommuctl.cli import main

if __name__ == "__main__":
    main()
