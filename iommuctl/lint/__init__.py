# SPDX-License-Identifier: Apache-2.0
"""Rules over command lines and hosts, and the findings that they give. Pure."""
