# SPDX-License-Identifier: Apache-2.0
"""One module for each bootloader; each is text in, text out, and never writes."""
