"""Health-insurance claims decided by a rule book: the domain of the demo."""

from .domain import ClaimsDomain

__all__ = ["ClaimsDomain"]
