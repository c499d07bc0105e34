"""A transformer with fewer layers: the weights are those of the chosen layers, whatever encoder."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from spacy_skd.models.compact_transformer import (  # noqa: E402
    check_kinds,
    chosen_layers,
    compact_transformer,
    layer_list,
)

from ..tiny_transformer import ENCODERS, N_LAYERS, tiny_transformer  # noqa: E402


def output(transformer, n_tokens: int = 7):
    numbers = torch.arange(5, 5 + n_tokens)[None]
    with torch.no_grad():
        return transformer.eval()(numbers, torch.ones_like(numbers)).last_hidden_state


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_weights_are_those_of_the_chosen_layers(kind):
    teacher, place = tiny_transformer(kind), ENCODERS[kind]
    assert layer_list(teacher) == (place, N_LAYERS)
    student, kept = compact_transformer(teacher, {"num_hidden_layers": 2}, [1, 5])
    assert kept == [1, 5] and student.config.num_hidden_layers == 2
    assert layer_list(student) == (place, 2)
    theirs, ours = teacher.state_dict(), student.state_dict()
    assert 0 < len(ours) < len(theirs)
    for name, weight in ours.items():
        source = name
        for number, taken in enumerate(kept):
            if name.startswith(f"{place}.{number}."):
                source = name.replace(f"{place}.{number}.", f"{place}.{taken}.", 1)
        assert torch.equal(weight, theirs[source]), name


@pytest.mark.parametrize("kind", ENCODERS)
def test_with_all_layers_it_computes_the_same(kind):
    teacher = tiny_transformer(kind)
    student, kept = compact_transformer(teacher, {})
    assert kept == list(range(N_LAYERS))
    assert torch.equal(output(student), output(teacher))


def test_it_computes_what_the_teacher_does_without_the_other_layers():
    teacher = tiny_transformer()
    student, kept = compact_transformer(teacher, {"num_hidden_layers": 3})
    whole = output(teacher)
    teacher.encoder.layer = torch.nn.ModuleList(teacher.encoder.layer[number] for number in kept)
    assert torch.equal(output(student), output(teacher))
    assert not torch.allclose(whole, output(student), atol=1e-3)


def test_the_teacher_stays_as_it_is():
    teacher = tiny_transformer()
    before = output(teacher)
    student, _ = compact_transformer(teacher, {"num_hidden_layers": 3})
    with torch.no_grad():
        for weight in student.parameters():
            weight.zero_()
    assert teacher.config.num_hidden_layers == N_LAYERS
    assert torch.equal(output(teacher), before)


def test_other_settings_of_the_student():
    settings = {"num_hidden_layers": 2, "hidden_dropout_prob": 0.3}
    student, _ = compact_transformer(tiny_transformer(), settings)
    assert student.config.hidden_dropout_prob == 0.3
    assert student.embeddings.dropout.p == 0.3


@pytest.mark.parametrize(
    "n_layers, n_kept, expected",
    [
        (6, 3, [0, 2, 4]),
        (12, 4, [0, 3, 6, 9]),
        (12, 5, [0, 2, 4, 7, 9]),
        (6, 1, [0]),
        (3, None, [0, 1, 2]),
    ],
)
def test_evenly_spaced_layers(n_layers, n_kept, expected):
    assert chosen_layers(n_layers, n_kept, None) == expected


@pytest.mark.parametrize(
    "n_kept, layers, message",
    [
        (None, [0, 6], r"layers \[0, 6\] cannot be taken .* numbers from 0 to 5"),
        (None, [-1, 2], r"\[-1, 2\] cannot be taken"),
        (None, [4, 2], r"\[4, 2\] cannot be taken .* ascending"),
        (None, [2, 2], r"\[2, 2\] cannot be taken"),
        (None, [], r"\[\] cannot be taken"),
        (3, [0, 2], r"\[0, 2\] are 2, but num_hidden_layers of the student is 3"),
        (7, None, "is 7, but the teacher's transformer has 6 layers"),
        (0, None, "is 0, but the teacher's transformer has 6 layers"),
    ],
)
def test_layers_that_cannot_be_taken(n_kept, layers, message):
    with pytest.raises(ValueError, match=message):
        chosen_layers(6, n_kept, layers)


def test_a_setting_that_changes_shapes():
    with pytest.raises(ValueError, match=r"weight '.*' is \(64.*\) in the student and \(48.*\) in"):
        compact_transformer(tiny_transformer(), {"num_hidden_layers": 2, "intermediate_size": 64})


def test_weights_that_only_one_of_them_has():
    settings = {"num_hidden_layers": 2, "position_embedding_type": "relative_key"}
    with pytest.raises(ValueError, match=r"distance_embedding.* in the student and missing in the"):
        compact_transformer(tiny_transformer(), settings)


def test_layers_that_cannot_be_found():
    from transformers import AlbertConfig, AlbertModel

    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 9}
    shared = AlbertModel(AlbertConfig(embedding_size=8, num_hidden_layers=3, **sizes))
    message = r"layers a AlbertModel has.*num_hidden_layers = 3 of them, but there is none"
    with pytest.raises(ValueError, match=message):
        compact_transformer(shared, {"num_hidden_layers": 2})


def test_an_encoder_with_a_decoder():
    from transformers import BartConfig, BartModel

    sizes = {"encoder_layers": 2, "decoder_layers": 2}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    both = BartModel(BartConfig(vocab_size=9, d_model=8, **sizes, **heads))
    with pytest.raises(ValueError, match=r"several: encoder\.layers, decoder\.layers"):
        compact_transformer(both, {})


def test_layers_of_several_kinds_are_refused():
    transformer = SimpleNamespace(config=SimpleNamespace(layer_types=["full", "local"]))
    with pytest.raises(ValueError, match="layers of several kinds"):
        check_kinds(transformer)
