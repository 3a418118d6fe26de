# SPDX-License-Identifier: Apache-2.0
"""Whether a running kernel does what a command line asks for: groups, devices, drivers, and the rules of its own."""
