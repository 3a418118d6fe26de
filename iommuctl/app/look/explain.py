# SPDX-License-Identifier: Apache-2.0
"""Explain: parameters of the package's catalogue in words."""

from iommuctl.kernel.explain import Explanation, explain
from iommuctl.kernel.lines import Kernel
from iommuctl.profile.shipped import shipped_catalogue


def explain_parameters(texts: tuple[str, ...], kernels: tuple[Kernel, ...] = ()) -> tuple[Explanation, ...]:
    """Explain parameters, each with a value or without. Raises NotFoundError for one that the catalogue lacks."""
    catalogue = shipped_catalogue()
    return tuple(explain(text, catalogue, kernels) for text in texts)
