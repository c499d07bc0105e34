"""`spacy-skd.MultiHashEmbed.v1` and `spacy-skd.HashEmbedCNN.v1`: spaCy's, predicted faster."""

from spacy.ml.models.tok2vec import MaxoutWindowEncoder, MultiHashEmbed, build_Tok2Vec_model
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..layers import folded_embedding, in_portions, lean


def build_multi_hash_embed(
    width: int, attrs: list[str | int], rows: list[int], include_static_vectors: bool
) -> Model[list[Doc], list[Floats2d]]:
    """Build `spacy.MultiHashEmbed.v2`, with the same settings, weights and results, but faster
    where it predicts on a CPU: see `folded_embedding`. No faster with static vectors.
    """
    return folded_embedding(MultiHashEmbed(width, attrs, rows, include_static_vectors))


def build_hash_embed_cnn(
    *,
    width: int,
    depth: int,
    embed_size: int,
    window_size: int,
    maxout_pieces: int,
    subword_features: bool,
    pretrained_vectors: bool | None,
) -> Model[list[Doc], list[Floats2d]]:
    """Build `spacy.HashEmbedCNN.v2`, with the same settings, weights and results, but faster where
    it predicts on a CPU: a trained pipeline may change the one for the other in its config.cfg.
    """
    embed = build_word_embedding(width, embed_size, subword_features, bool(pretrained_vectors))
    encode = MaxoutWindowEncoder(width, window_size, maxout_pieces, depth)
    return in_portions(lean(build_Tok2Vec_model(embed, encode)))


def build_word_embedding(
    width: int, embed_size: int, subword_features: bool, pretrained_vectors: bool
) -> Model[list[Doc], list[Floats2d]]:
    """The embedding of `spacy.HashEmbedCNN.v2`: norms, and half as many rows for prefixes, suffixes
    and shapes."""
    attributes: dict[str | int, int] = {"NORM": embed_size}
    if subword_features:
        attributes |= dict.fromkeys(("PREFIX", "SUFFIX", "SHAPE"), embed_size // 2)
    return build_multi_hash_embed(
        width, list(attributes), list(attributes.values()), pretrained_vectors
    )
