"""What a teacher gives and how a student learns from it."""

from .projection import cross_entropy, project

__all__ = ["cross_entropy", "project"]
