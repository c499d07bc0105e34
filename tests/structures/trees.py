"""All dependency trees of short sentences: what distributions over trees must agree with."""

from functools import cache

from .arc_brute_force import trees


@cache
def all_trees(n_tokens: int, projective: bool = False) -> tuple[tuple[int, ...], ...]:
    """The head numbers of every tree with one root; only of those without crossing arcs."""
    found = trees(n_tokens)
    return tuple(heads for heads in found if is_projective(heads)) if projective else found


def is_projective(heads) -> bool:
    """Whether all tokens between a tree's token and its head are below the head.

    The root is before all tokens, so no arc passes over the token that is its dependent.
    """
    for token, head in enumerate(heads, start=1):
        for between in range(min(token, head) + 1, max(token, head)):
            above = between
            while above not in (0, head):
                above = heads[above - 1]
            if above != head:
                return False
    return True
