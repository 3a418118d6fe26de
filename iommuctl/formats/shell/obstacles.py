# SPDX-License-Identifier: Apache-2.0
"""Obstacles: why an assignment cannot be edited where it is."""

IN_FUNCTION = "in a function"


# dash knows no `function`: it runs such a body at once, as a group of commands.
IN_BASH_FUNCTION = "in a function of bash"


IN_FUNCTIONS = frozenset({IN_FUNCTION, IN_BASH_FUNCTION})


AFTER_OPERATOR = "after && or ||"


INSIDE = "inside the "


def is_conditional(obstacle: str | None) -> bool:
    """Whether that obstacle of an assignment is a condition, or what may be one, around it."""
    return obstacle is not None and obstacle.startswith((AFTER_OPERATOR, INSIDE))
