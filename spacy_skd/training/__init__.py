"""What training needs besides spaCy's own: the corpus reader, a callback, a logger."""
