"""The components, one a file."""
