# SPDX-License-Identifier: Apache-2.0
"""The text and bytes of boot files. Pure: text in, text out."""
