"""What is true after each step of a procedure: event reasoning over the states of entities."""

from .domain import EntityStatesDomain

__all__ = ["EntityStatesDomain"]
