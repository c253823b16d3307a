"""Steady mixed traffic for hours, at a pace that leaves room: what leaks is seen in the workers' memory, which the launcher
watches, and in answers that get slower."""

from tests.load.steady import BOUNDS, Customer

__all__ = ["BOUNDS", "Customer"]
