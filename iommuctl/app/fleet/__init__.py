# SPDX-License-Identifier: Apache-2.0
"""Fleet: what the JSON of many hosts says together."""
