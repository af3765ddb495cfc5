"""Base classes of all settings. The section of a concept is declared beside the code that uses it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""


class Section(BaseModel):
    """A part of the settings. Unknown keys are errors, and values cannot be changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
