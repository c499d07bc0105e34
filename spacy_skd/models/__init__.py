"""Registered architectures: an encoder, a scoring layer and the structure it scores."""
