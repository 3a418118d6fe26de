# SPDX-License-Identifier: Apache-2.0
"""The JSON that scripts read, and its schemas."""
