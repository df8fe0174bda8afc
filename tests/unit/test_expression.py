from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.expression import (
    MAX_BOXES,
    MAX_DEPTH,
    MAX_TEXTS,
    MAX_WORDS,
    And,
    Conjunction,
    ExpressionError,
    Not,
    Or,
    Text,
    normal_form,
)

A, B, C = (Text(name) for name in "abc")
NAMES = "abcd"
TREES = st.recursive(
    st.sampled_from([Text(name) for name in NAMES]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda operands: And(tuple(operands))),
        st.lists(inner, min_size=1, max_size=3).map(lambda operands: Or(tuple(operands))),
        inner.map(Not),
    ),
    max_leaves=8,
)


def truth(expression, holds):
    """What the tree itself says, given which texts hold."""
    match expression:
        case Text(text):
            return holds[text]
        case And(operands):
            return all(truth(operand, holds) for operand in operands)
        case Or(operands):
            return any(truth(operand, holds) for operand in operands)
        case Not(operand):
            return not truth(operand, holds)


def truth_of_form(conjunctions, holds):
    return any(
        all(holds[text] for text in part.positive) and not any(holds[text] for text in part.negative)
        for part in conjunctions
    )


@settings(deadline=None)
@given(TREES)
def test_the_normal_form_says_what_the_tree_says(tree):
    try:
        conjunctions = normal_form(tree)
    except ExpressionError:
        return
    assert 1 <= len(conjunctions) <= MAX_BOXES
    assert all(part.positive for part in conjunctions)
    assert len(set(conjunctions)) == len(conjunctions)
    for values in product((False, True), repeat=len(NAMES)):
        holds = dict(zip(NAMES, values, strict=True))
        assert truth_of_form(conjunctions, holds) == truth(tree, holds)


@settings(deadline=None)
@given(st.permutations([A, B, C]), st.booleans())
def test_order_and_brackets_of_one_operator_do_not_matter(operands, to_the_left):
    first, second, third = operands
    for kind in (And, Or):
        nested = kind((kind((first, second)), third)) if to_the_left else kind((first, kind((second, third))))
        assert set(normal_form(nested)) == set(normal_form(kind((A, B, C))))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Not(Or((A, B))), And((Not(A), Not(B)))),
        (Not(And((A, B))), Or((Not(A), Not(B)))),
        (Not(Not(A)), A),
        (And((A, A)), A),
        (Or((A, A)), A),
        (And((A, Or((B, C)))), Or((And((A, B)), And((A, C))))),
        (Or((A, And((A, B)))), A),
        (Or((A, And((A, Not(B))))), A),
        (And((A, Or((A, B)))), A),
        (Or((Text("A!"), Text(" a "))), A),
    ],
)
def test_laws_of_sets_hold_in_the_normal_form(left, right):
    assert normal_form(And((Text("x"), left))) == normal_form(And((Text("x"), right)))


def test_a_contradiction_is_kept_and_not_an_error():
    assert normal_form(And((A, Not(A)))) == (Conjunction(("a",), ("a",)),)


def test_a_lone_not_is_refused_where_it_stands():
    with pytest.raises(ExpressionError, match="NOT only excludes") as caught:
        normal_form(Or((Text("drill", 0), Not(Text("saw", 13), 9))))
    assert (caught.value.position, caught.value.pointer) == (9, None)
    with pytest.raises(ExpressionError, match="NOT only excludes") as caught:
        normal_form(Not(Text("saw", "/not"), ""))
    assert (caught.value.position, caught.value.pointer) == (None, "")


def test_sixteen_boxes_are_allowed_and_seventeen_are_refused_with_their_number():
    def pairs(count):
        return tuple(Or((Text(f"a{i}"), Text(f"b{i}"))) for i in range(count))

    assert len(normal_form(And(pairs(4)))) == MAX_BOXES
    assert len(normal_form(Or(tuple(Text(f"a{i}") for i in range(16))))) == MAX_BOXES
    with pytest.raises(ExpressionError, match=r"comes to 17 .* at most 16"):
        normal_form(Or(tuple(Text(f"a{i}") for i in range(17))))
    with pytest.raises(ExpressionError, match=r"comes to 32 .* at most 16"):
        normal_form(And(pairs(5)))
    with pytest.raises(ExpressionError, match="at most 16"):
        normal_form(And((A, Not(Or(tuple(And((Text(f"a{i}"), Text(f"b{i}"))) for i in range(5)))))))


def test_alternatives_that_are_the_same_or_only_narrow_another_do_not_count():
    six = Or(tuple(Text(f"a{i}") for i in range(6)))
    assert len(normal_form(And((six,) * 10))) == 6


def test_texts_may_have_only_so_many_words_together():
    long = Text(" ".join("a" for _ in range(MAX_WORDS)), "/or/0")
    assert normal_form(long) == (Conjunction((long.text,)),)
    with pytest.raises(ExpressionError, match=f"comes to {MAX_WORDS + 1} words .* {MAX_WORDS} together") as caught:
        normal_form(Or((long, Text("b", "/or/1"))))
    assert caught.value.pointer == "/or/1"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 200, 100_000])
def test_a_tree_too_deep_is_refused_before_it_is_walked_to_the_end(depth):
    tree = A
    for i in range(depth):
        tree = Not(tree, depth - i)
    with pytest.raises(ExpressionError, match=f"more than {MAX_DEPTH} deep") as caught:
        normal_form(tree)
    assert caught.value.position is not None or depth == MAX_DEPTH + 1


def test_a_tree_of_the_greatest_depth_is_fine():
    tree = A
    for _ in range(MAX_DEPTH):
        tree = Not(tree)
    assert normal_form(tree) == (Conjunction(("a",)),)


def test_more_texts_than_a_search_can_encode_are_refused():
    assert normal_form(And(tuple(Text(f"w{i}") for i in range(MAX_TEXTS))))
    with pytest.raises(ExpressionError, match=f"more than {MAX_TEXTS} texts"):
        normal_form(And(tuple(Text(f"w{i}") for i in range(MAX_TEXTS + 1))))


@pytest.mark.parametrize("tree", [And(()), Or(()), Not(And(())), Text(""), Text("!?"), And((A, Text(" ")))])
def test_an_empty_operand_is_refused(tree):
    with pytest.raises(ExpressionError):
        normal_form(tree)


def test_an_error_names_its_place_in_its_text():
    assert str(ExpressionError("is odd", 7)) == "the query at character 7 is odd"
    assert str(ExpressionError("is odd", "/and/1")) == "the query at /and/1 is odd"
    assert str(ExpressionError("is odd", "")) == "the query at / is odd"
    assert str(ExpressionError("is odd")) == "the query is odd"
