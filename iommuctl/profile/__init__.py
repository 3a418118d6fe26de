# SPDX-License-Identifier: Apache-2.0
"""What an operator asks for, and what a command line lacks of it."""
