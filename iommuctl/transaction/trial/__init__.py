# SPDX-License-Identifier: Apache-2.0
"""What a trial boot changes on a host: its entry, the choice of one boot, and the record of what became of it."""
