# SPDX-License-Identifier: Apache-2.0
"""Explain: parameters of the package's catalogue in words, and the rules of findings."""

from iommuctl.errors import NotFoundError
from iommuctl.findings import Rule
from iommuctl.kernel.explain import Explanation, explain
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.spelling import meant
from iommuctl.profile.shipped import shipped_catalogue

_RULES = {one.value: one for one in Rule}


def explain_words(texts: tuple[str, ...], kernels: tuple[Kernel, ...] = ()) -> tuple[Explanation | Rule, ...]:
    """Explain parameters, each with a value or without, and rules by their id: none has the name of a parameter.

    Raises NotFoundError for one that is neither.
    """
    return tuple(_RULES[text] if text in _RULES else _explained(text, kernels) for text in texts)


def _explained(text: str, kernels: tuple[Kernel, ...]) -> Explanation:
    try:
        return explain(text, shipped_catalogue(), kernels)
    except NotFoundError as error:
        if error.correction is None and (right := meant(text, _RULES)) is not None:
            hint = f"iommuctl explain {right}"
            raise NotFoundError(f"no such rule: {text!r}", hint=hint, correction=(text, right)) from error
        raise
