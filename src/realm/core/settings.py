"""Base classes of all settings. Each section is declared beside the code that uses it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**32 - 1
"""The largest seed that NumPy takes, and Transformers with it."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""


class Section(BaseModel):
    """A part of the settings. Unknown keys are errors, and values cannot be changed once read."""

    # A misspelt key would otherwise be passed over, and the run would use the default. Infinity and
    # NaN are numbers of YAML that no setting can have. The text under a field is its description in
    # the schema and in docs/reference/config.md.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def check_placeholders(template: str, needed: list[str]) -> str:
    """Return `template`; raise ValueError if one of the placeholders `needed` is missing in it."""
    missing = [name for name in needed if name not in template]
    if missing:
        raise ValueError(
            f"the template lacks {' and '.join(missing)}; it needs {' and '.join(needed)}"
        )
    return template
