"""Transformers of a few thousand random weights, written where a pipeline finds them by name."""

from pathlib import Path
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'-"
WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
N_LAYERS, WIDTH = 6, 32
# The transformers library's name of an encoder, and where it has its layers.
ENCODERS = {
    "bert": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
    "electra": "encoder.layer",
    "distilbert": "transformer.layer",
    "deberta-v2": "encoder.layer",
}


def tiny_transformer(kind: str = "bert", **settings: Any) -> Any:
    """A torch encoder of six layers with random weights."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    shape = {
        "num_hidden_layers": N_LAYERS,
        "hidden_size": WIDTH,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "hidden_dim": 48,  # as DistilBERT calls it
        "embedding_size": 24,  # ELECTRA's
        "max_position_embeddings": 160,
        "vocab_size": len(WORD_PIECES),
        "pad_token_id": 0,
    }
    return AutoModel.from_config(AutoConfig.for_model(kind, **{**shape, **settings}))


def write_transformer(folder: Path, kind: str = "bert", **settings: Any) -> str:
    """Write an encoder and a tokenizer that reads letter by letter. Returns the folder's name."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORD_PIECES) + "\n", encoding="utf8")
    names = ["input_ids", "attention_mask"]  # DistilBERT takes no more
    tokenizer = BertTokenizerFast(
        str(folder / "vocab.txt"), model_input_names=names, model_max_length=128
    )
    tokenizer.save_pretrained(folder)
    tiny_transformer(kind, **settings).save_pretrained(folder)
    return str(folder)
