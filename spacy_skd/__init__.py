"""Structural knowledge distillation for spaCy.

The package registers everything it offers through entry points, so importing it does nothing
but say its version: `spacy.blank()` imports the factory modules of every installed package.
"""

__version__ = "0.1.0"
