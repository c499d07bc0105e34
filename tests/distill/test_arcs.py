"""What teachers of heads and trees say to students of heads, trees and labels, against listing."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy, project
from spacy_skd.distill.arcs import as_heads, dropped_mass
from spacy_skd.distill.projection import condition
from spacy_skd.structures import (
    Candidates,
    HeadSelection,
    LabelTrees,
    LinearChain,
    ListedRelations,
    SentenceError,
    SpanningTree,
    Token,
)

from .arc_structures import (
    BOUNDS,
    KINDS,
    LABELS,
    LAYOUT,
    LENGTHS,
    N_TOKENS,
    RELATIONS,
    dense,
    joint_cross_entropy,
    label_trees,
    listed,
    listed_parts,
    make,
    outputs_of,
    random_arcs_of,
    random_labels,
    random_scores,
)

ONES = np.ones(len(LENGTHS))
STUDENTS = ["heads", "trees", "projective"]


# --- arcs onto arcs


@pytest.mark.parametrize("student_kind", KINDS)
@pytest.mark.parametrize("teacher_kind", KINDS)
def test_arcs_onto_arcs(teacher_kind, student_kind):
    rng = np.random.default_rng(61)
    teacher, student = random_arcs_of(teacher_kind, rng), random_arcs_of(student_kind, rng)
    weights = rng.uniform(size=len(LENGTHS))
    arcs, relations = listed_parts(teacher, weights)
    for onto in (student, type(student)):
        parts = project(teacher, onto, weights)
        np.testing.assert_allclose(parts.arcs, arcs, atol=1e-9)
        np.testing.assert_allclose(dense(parts.relations), relations, atol=1e-9)


@pytest.mark.parametrize("student_kind", KINDS)
@pytest.mark.parametrize("teacher_kind", KINDS)
def test_cross_entropy_is_that_of_heads_and_relations(teacher_kind, student_kind):
    rng = np.random.default_rng(62)
    teacher, student = random_arcs_of(teacher_kind, rng), random_arcs_of(student_kind, rng)
    found = cross_entropy(teacher, student)
    np.testing.assert_allclose(found, joint_cross_entropy(teacher, student), atol=1e-9)
    assert found.dtype == np.float64


@pytest.mark.parametrize("student_kind", STUDENTS)
def test_without_relations(student_kind):
    rng = np.random.default_rng(63)
    arcs, relations = random_scores(rng)
    bare, whole = make(student_kind, (arcs, None)), make(student_kind, (arcs, relations))
    for teacher, student in ((bare, whole), (whole, bare), (bare, bare)):
        assert project(teacher, student).relations is None
        np.testing.assert_allclose(cross_entropy(teacher, student), whole.entropy(), atol=1e-9)


def test_relations_are_matched_by_name():
    rng = np.random.default_rng(64)
    teacher, (arcs, relations) = random_arcs_of("trees", rng), random_scores(rng)
    order = [2, 0, 1]
    shuffled = make("trees", (arcs, relations[:, order]), [RELATIONS[i] for i in order])
    student = make("trees", (arcs, relations))
    np.testing.assert_allclose(cross_entropy(teacher, shuffled), cross_entropy(teacher, student))
    parts = project(teacher, shuffled)
    np.testing.assert_allclose(dense(parts.relations), listed_parts(teacher, ONES)[1][:, order])
    other = make("heads", (arcs, relations), ["amod", "nsubj", "iobj"])
    with pytest.raises(ValueError, match=r"Only the teacher has: obj.*Only the student has: iobj"):
        project(teacher, other)


def test_arcs_say_nothing_of_label_sequences():
    rng = np.random.default_rng(65)
    token = Token(rng.normal(size=(N_TOKENS, 3)), LENGTHS)
    heads = random_arcs_of("heads", rng)
    for teacher, student in (
        (heads, token),
        (token, heads),
        (heads, LinearChain.from_token(token)),
    ):
        with pytest.raises(NotImplementedError):
            project(teacher, student)
        with pytest.raises(NotImplementedError):
            cross_entropy(teacher, student)


def test_an_arc_that_the_student_cannot_have_is_infinitely_dear():
    rng = np.random.default_rng(66)
    teacher, (arcs, relations) = random_arcs_of("heads", rng), random_scores(rng)
    arcs[0] = -np.inf  # of the first sentence
    found = cross_entropy(teacher, make("heads", (arcs, relations)))
    assert np.isinf(found[0]) and np.isfinite(found[1:]).all()


def test_listed_relations_are_all_that_is_known():
    rng = np.random.default_rng(67)
    arcs, _ = random_scores(rng)
    tokens, heads = np.arange(N_TOKENS), np.zeros(N_TOKENS, dtype=int)
    relations = ListedRelations(tokens, heads, rng.normal(size=(N_TOKENS, 3)), LENGTHS)
    teacher = HeadSelection(arcs, lengths=LENGTHS, relations=relations, labels=RELATIONS)
    parts = project(teacher, random_arcs_of("heads", rng))
    assert parts.relations.heads.tolist() == [0] * N_TOKENS
    np.testing.assert_allclose(parts.arcs, teacher.flat_marginals())


# --- candidates


def random_trees_with_relations(rng, k=3):
    outputs = []
    for length in LENGTHS:
        trees = outputs_of(random_arcs_of("trees", rng), length)
        outputs.append(
            [(trees[rng.integers(len(trees))], rng.integers(3, size=length)) for _ in range(k)]
        )
    return outputs, [rng.normal(size=k) for _ in LENGTHS]


@pytest.mark.parametrize("student_kind", STUDENTS)
def test_candidates_that_are_trees(student_kind):
    rng = np.random.default_rng(68)
    outputs, log_weights = random_trees_with_relations(rng)
    weights = rng.uniform(size=len(LENGTHS))
    candidates = Candidates(outputs, log_weights, RELATIONS, lengths=LENGTHS)
    student = random_arcs_of(student_kind, rng)
    arcs, relations = np.zeros(LAYOUT.n_cells), np.zeros((LAYOUT.n_cells, 3))
    expected = np.zeros(len(LENGTHS))
    for number, (trees, probs) in enumerate(zip(outputs, candidates.marginals())):
        tokens = np.arange(*BOUNDS[number : number + 2])
        for (heads, columns), prob in zip(trees, probs):
            cells = LAYOUT.cells(tokens, np.asarray(heads, dtype=int))
            np.add.at(arcs, cells, weights[number] * prob)
            np.add.at(relations, (cells, columns), weights[number] * prob)
            alone = student.select([number])
            log_probs = student.relation_log_probs(tokens, np.asarray(heads, dtype=int))
            of_relations = log_probs[np.arange(len(tokens)), columns].sum()
            score = alone.score([list(heads)])[0] - alone.log_partition()[0]
            expected[number] -= prob * (score + of_relations)
    for onto in (student, type(student)):
        parts = project(candidates, onto, weights)
        np.testing.assert_allclose(parts.arcs, arcs, atol=1e-9)
        np.testing.assert_allclose(dense(parts.relations), relations, atol=1e-9)
    np.testing.assert_allclose(cross_entropy(candidates, student), expected, atol=1e-9)
    turned = make(student_kind, random_scores(rng), RELATIONS[::-1])
    found = project(candidates, turned, weights)
    np.testing.assert_allclose(dense(found.relations), relations[:, ::-1], atol=1e-9)
    heads = Candidates([[y for y, _ in trees] for trees in outputs], log_weights, lengths=LENGTHS)
    found = project(heads, student, weights)
    assert found.relations is None
    np.testing.assert_allclose(found.arcs, arcs, atol=1e-9)


def test_all_trees_as_candidates_are_the_teacher():
    rng = np.random.default_rng(69)
    teacher, student = random_arcs_of("trees", rng), random_arcs_of("heads", rng)
    everything = Candidates.from_topk(teacher.topk(100), None, lengths=LENGTHS)
    found = project(everything, student).arcs
    np.testing.assert_allclose(found, project(teacher, student).arcs, atol=1e-9)


def test_candidates_that_are_no_heads():
    student = make("heads", random_scores(np.random.default_rng(70)))
    empty = [[[]]]
    for outputs, match in [
        ([[[0, 1, 4]], *empty, [[0]], [[0, 1, 1, 1]], [[0, 1]]], "an arc from the head 4"),
        ([[[0, 1, 3]], *empty, [[0]], [[0, 1, 1, 1]], [[0, 1]]], "token 2 is its own head"),
    ]:
        with pytest.raises(SentenceError, match=match) as error:
            project(Candidates(outputs, [[0.0]] * 5), student)
        assert error.value.sentence == 0


# --- labels that mean arcs


def listed_labels(teacher, labels):
    """p(head) p(relation | head) of what each label means, (N, L), and what is left of each row."""
    _, relations = listed_parts(teacher, ONES)
    found = np.zeros((N_TOKENS, len(labels)))
    for token in range(N_TOKENS):
        length = int(LAYOUT.widths[token]) - 1
        position = int(LAYOUT.positions[token])
        for column, label in enumerate(labels):
            code, relation = label.split("|")
            head = 0 if code == "0" else position + int(code) + 1
            if (code != "0" and not 1 <= head <= length) or relation not in RELATIONS:
                continue
            found[token, column] = relations[
                LAYOUT.row_starts[token] + head, RELATIONS.index(relation)
            ]
    return found, found.sum(axis=1)


INVENTORIES = {
    "all": LABELS,
    "some": ["0|obj", "-1|amod", "+1|amod", "+1|obj", "+2|xcomp", "-2|nsubj"],
    "nothing for first tokens": ["-1|obj", "-1|amod", "-2|obj"],
}


@pytest.mark.parametrize("inventory", INVENTORIES)
@pytest.mark.parametrize("kind", KINDS)
def test_arcs_onto_labels(kind, inventory):
    rng = np.random.default_rng(71)
    labels = INVENTORIES[inventory]
    teacher, student = random_arcs_of(kind, rng), random_labels(rng, labels)
    weights = rng.uniform(size=len(LENGTHS))
    wanted, left = listed_labels(teacher, labels)
    taught = left > 0
    assert taught.all() == (inventory != "nothing for first tokens")
    np.testing.assert_allclose(dropped_mass(teacher, student), 1 - left, atol=1e-9)
    wanted[taught] /= left[taught, None]
    by_token = weights[LAYOUT.sentences][:, None]
    found = project(teacher, student, weights)
    np.testing.assert_allclose(found, wanted * by_token, atol=1e-9)

    log_probs = np.log(student.marginals())
    losses = np.bincount(LAYOUT.sentences, -(wanted * log_probs).sum(axis=1), len(LENGTHS))
    np.testing.assert_allclose(cross_entropy(teacher, student), losses, atol=1e-9)


def test_labels_of_all_arcs_lose_nothing():
    rng = np.random.default_rng(72)
    teacher, student = random_arcs_of("trees", rng), random_labels(rng)
    np.testing.assert_allclose(dropped_mass(teacher, student), 0, atol=1e-9)
    back = label_trees(np.log(np.maximum(project(teacher, student), 1e-300)))
    np.testing.assert_allclose(back.arc_probabilities(), teacher.flat_marginals(), atol=1e-9)


def test_trees_onto_labels():
    rng = np.random.default_rng(73)
    outputs, log_weights = random_trees_with_relations(rng)
    outputs[3][0][1][:] = -1  # a candidate without relations
    candidates = Candidates(outputs, log_weights, RELATIONS, lengths=LENGTHS)
    student = random_labels(rng)
    wanted = np.zeros((N_TOKENS, len(LABELS)))
    for number, (trees, probs) in enumerate(zip(outputs, candidates.marginals())):
        for (heads, columns), prob in zip(trees, probs):
            for position, (head, column) in enumerate(zip(heads, columns)):
                code = "0" if head == 0 else f"{head - position - 1:+d}"
                if column >= 0:
                    label = LABELS.index(f"{code}|{RELATIONS[column]}")
                    wanted[BOUNDS[number] + position, label] += prob
    found = project(candidates, student)
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-9)
    assert found.dtype == student.scores.dtype


def test_labels_need_relations_and_a_batch():
    rng = np.random.default_rng(74)
    bare = make("heads", (random_scores(rng)[0], None))
    with pytest.raises(ValueError, match="not their relations"):
        project(bare, random_labels(rng))
    with pytest.raises(NotImplementedError):
        project(bare, LabelTrees)


def test_labels_teach_labels_and_arcs():
    rng = np.random.default_rng(75)
    labels, heads = random_labels(rng), random_arcs_of("heads", rng)
    turned = label_trees(rng.normal(size=labels.scores.shape), LABELS[::-1])
    np.testing.assert_allclose(project(labels, turned), labels.marginals()[:, ::-1])
    for onto in (heads, HeadSelection):
        parts = project(labels, onto)
        possible = labels.arc_probabilities()
        totals = LAYOUT.spread(LAYOUT.row_sum(possible))
        np.testing.assert_allclose(parts.arcs, possible / totals, atol=1e-6)
        back = project(as_heads(labels), random_labels(rng))
        means_arc = labels.heads.take(labels.codes, axis=1) >= 0
        probs = np.where(means_arc, labels.marginals(), 0)
        np.testing.assert_allclose(back, probs / probs.sum(1, keepdims=True), atol=1e-6)


def test_labels_that_mean_nothing_are_roots():
    labels = ["-1|obj", "-1|amod"]
    teacher = random_labels(np.random.default_rng(76), labels)
    heads = as_heads(teacher)
    assert [y[0] for y in heads.greedy() if len(y)] == [0, 0, 0, 0]
    firsts = heads.relation_log_probs(BOUNDS[[0, 2, 3, 4]], np.zeros(4, dtype=int))
    order = [sorted(["obj", "amod"]).index(name) for name in ("obj", "amod")]
    np.testing.assert_allclose(np.exp(firsts[:, order]), teacher.marginals()[BOUNDS[[0, 2, 3, 4]]])


# --- teachers that have to be trees


@pytest.mark.parametrize("projective", [False, True])
@pytest.mark.parametrize("kind", ["heads", "mean field"])
def test_heads_teach_trees_as_what_they_are_given_that_they_are_trees(kind, projective):
    rng = np.random.default_rng(77)
    teacher = random_arcs_of(kind, rng)
    student = random_arcs_of("projective" if projective else "trees", rng)
    given = condition(teacher, student)
    assert isinstance(given, SpanningTree) and given.projective == projective
    for theirs, trees in zip(listed(teacher), listed(given)):
        probs = dict(zip(theirs.heads, theirs.probs))
        wanted = np.asarray([probs[tree] for tree in trees.heads])
        np.testing.assert_allclose(trees.probs, wanted / wanted.sum(), atol=1e-9)
    assert condition(teacher, random_arcs_of("heads", rng)) is teacher


def test_heads_that_make_no_tree_teach_trees():
    rng = np.random.default_rng(78)
    arcs = np.full(LAYOUT.n_cells, -np.inf)
    for block in LAYOUT.blocks(arcs):
        if len(block):  # every token hangs on the next, the last on the first: no root
            block[np.arange(len(block)), (np.arange(len(block)) + 1) % len(block) + 1] = 0.0
    arcs[LAYOUT.row_starts[3]] = 0.0  # a token alone is a root
    arcs[LAYOUT.self_cells] = -np.inf
    teacher, student = HeadSelection(arcs, lengths=LENGTHS), random_arcs_of("trees", rng)
    given = condition(teacher, student)
    marginals = given.flat_marginals()
    np.testing.assert_allclose(LAYOUT.row_sum(marginals), 1)
    assert np.isfinite(cross_entropy(given, student)).all()


def test_what_a_teacher_does_not_have_stays_away_where_its_best_heads_are_trees():
    rng = np.random.default_rng(88)
    arcs, tree = np.full(LAYOUT.n_cells, -np.inf), [1, 2, 0, 0, 2, 0, 2, 2, 0, 1]
    arcs[LAYOUT.cells(np.arange(N_TOKENS), tree)] = 0.0
    arcs[LAYOUT.cells([0, 0, 1], [2, 3, 0])] = -1.0
    arcs[LAYOUT.self_cells] = -np.inf
    tree[:3] = [2, 0, 2]
    arcs[LAYOUT.cells(np.arange(3), tree[:3])] = 0.5
    teacher = HeadSelection(arcs, lengths=LENGTHS)
    given = condition(teacher, random_arcs_of("trees", rng))
    assert (given.flat_marginals()[np.isneginf(arcs)] == 0).all()
    np.testing.assert_array_equal(np.concatenate(given.argmax()), tree)


def test_projective_trees_are_trees_but_not_the_other_way_round():
    rng = np.random.default_rng(79)
    trees, projective = random_arcs_of("trees", rng), random_arcs_of("projective", rng)
    assert condition(projective, trees) is projective
    assert condition(trees, trees) is trees
    assert condition(trees, projective).projective
