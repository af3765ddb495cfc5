"""Three tasks of reasoning-gym with an expert in the place of a teacher model."""

from .domain import GymExpert

__all__ = ["GymExpert"]
