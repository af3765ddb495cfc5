"""What a flight with checked bags costs, by an airline's rule book: the domain of RuleArena."""

from .domain import AirlineDomain

__all__ = ["AirlineDomain"]
