from __future__ import annotations

import copy
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.errors import ExpressionError
from rxhub.expression import And, Condition, Dialect, Everything, Not, Or, parse
from tests.expression.strategies import any_trees, dialects, trees

A, B, C = (Condition(key, "=", "1") for key in "abc")

dialects_and_trees = dialects.flatmap(lambda dialect: st.tuples(st.just(dialect), trees(dialect)))


def deepest():
    """A tree of 120 levels."""
    tree = A
    for _ in range(59):
        tree = And((B, Not(tree)))
    return Not(tree)


class TestText:
    @given(dialects_and_trees)
    def test_of_a_tree_parses_to_the_same_tree(self, given):
        dialect, tree = given

        assert parse(str(tree), dialect) == tree

    @pytest.mark.parametrize(
        ("written", "printed"),
        [
            ("  a = 1 ", "a=1"),
            ("a!=1", "a!=1"),
            ("a.b>=1", "a.b >= 1"),
            ("a='x'", 'a="x"'),
            ("a='\"'", "a='\"'"),
            ("((a=1)) AND (b=1)", "a=1 and b=1"),
            ("(a=1 and b=1) or c=1", "a=1 and b=1 or c=1"),
            ("a=1 and (b=1 or c=1)", "a=1 and (b=1 or c=1)"),
            ("(a=1 and b=1) and c=1", "(a=1 and b=1) and c=1"),
            ("(a=1 or b=1) or c=1", "(a=1 or b=1) or c=1"),
            ("not(a=1)", "not a=1"),
            ("NOT (a=1 and b=1)", "not (a=1 and b=1)"),
            ("a=1 or a=2", "a in (1, 2)"),
            ("not a in (1,'2 3')", 'not a in (1, "2 3")'),
            ("a in (1) and b=2", "a=1 and b=2"),
            ("b=2 and a in (1, 2)", "b=2 and a in (1, 2)"),
            ("(a=1 or a=2) or b=2", "a in (1, 2) or b=2"),
            ("a='x,y' or a=z", 'a in ("x,y", z)'),
            ("a=x,y or a=z", "a=x,y or a=z"),
            ("a=1 or a!=2", "a=1 or a!=2"),
            ("", ""),
        ],
    )
    def test_is_the_shortest_that_reads_well(self, written, printed):
        assert str(parse(written)) == printed

    def test_keeps_to_what_ftrack_knows_in_its_dialect(self):
        assert str(parse("a in (1, 2)", Dialect.FTRACK)) == "a=1 or a=2"

    @given(dialects_and_trees)
    def test_is_in_the_representation_which_makes_the_tree_again(self, given):
        _, tree = given

        assert eval(repr(tree), {"parse": parse, "Dialect": Dialect}) == tree


class TestANode:
    def test_cannot_be_changed(self):
        for node, name in ((A, "key"), (And((A, B)), "children"), (Or((A, B)), "children"), (Not(A), "child")):
            with pytest.raises(AttributeError):
                setattr(node, name, B)

    def test_holds_what_was_written_and_nothing_else(self):
        for node in (A, And((A, B)), Or((A, B)), Not(A), Everything()):
            assert not hasattr(node, "__dict__")
        assert sys.getsizeof(A) <= 80

    def test_shares_its_key_with_others(self):
        assert parse("topic.x=1").key is parse("topic.x=2").key

    def test_tells_its_levels(self):
        assert [A.depth, Not(A).depth, And((A, Not(A))).depth, Everything().depth] == [1, 2, 3, 1]

    @pytest.mark.parametrize(
        "other",
        [
            Condition("b", "=", "1"),
            Condition("a", "!=", "1"),
            Condition("a", "=", "1.0"),
            Condition("a", "=", "1", quoted=True),
            Condition("a", "=", "1", dialect=Dialect.FTRACK),
            Not(A),
            "a=1",
            ("a", "=", "1", False, Dialect.RXHUB),
        ],
    )
    def test_equals_only_what_says_the_same_in_every_respect(self, other):
        assert other != A
        assert len({A, other}) == 2

    def test_of_another_kind_is_another(self):
        assert And((A, B)) != Or((A, B))
        assert And((A, B)) != And((B, A))
        assert And((A, B)) == And([A, B])
        assert Everything() == Everything()

    @given(any_trees)
    def test_is_its_own_copy_and_survives_pickling(self, tree):
        assert copy.copy(tree) is tree
        assert copy.deepcopy(tree) is tree
        twin = pickle.loads(pickle.dumps(tree))
        assert twin == tree
        assert hash(twin) == hash(tree)
        assert twin.depth == tree.depth


class TestATreeOf120Levels:
    def test_can_be_compared_printed_copied_matched_and_parsed(self):
        tree, twin = deepest(), deepest()

        assert tree.depth == 120
        assert tree == twin
        assert hash(tree) == hash(twin)
        assert copy.deepcopy(tree) is tree
        assert pickle.loads(pickle.dumps(tree)) == tree
        assert parse(str(tree), max_depth=120) == tree
        assert "not" in repr(tree)
        assert tree.matches({"a": 1, "b": 1}) is (not deepest().child.matches({"a": 1, "b": 1}))

    def test_is_the_deepest_there_is(self):
        for build in (Not, lambda tree: And((A, tree)), lambda tree: Or((tree, B))):
            with pytest.raises(ExpressionError, match="at most 120 levels"):
                build(deepest())


class TestANodeRefusesToBe:
    """What no text denotes."""

    @pytest.mark.parametrize(
        "key", ["", " ", "a b", "a=", "a/b", "a:b", "not.x", "NOT.x", "a\u00a0b", "a\x85", '"a"', "a,b"]
    )
    def test_a_condition_on_an_illegal_key(self, key):
        with pytest.raises(ExpressionError, match="key"):
            Condition(key, "=", "1")

    @pytest.mark.parametrize("operator", ["", "==", "in", "~", " =", ">=="])
    def test_a_condition_with_an_unknown_operator(self, operator):
        with pytest.raises(ExpressionError, match="operator"):
            Condition("a", operator, "1")

    @pytest.mark.parametrize("value", ["", "a b", "a=b", "(a", "'a'", "a$", "a\\b", "a\u2003", "\x00"])
    def test_a_bare_value_that_needs_quotes(self, value):
        with pytest.raises(ExpressionError, match="quote"):
            Condition("a", "=", value)

    @pytest.mark.parametrize("value", ["\\", "C:\\", "\"'", "a\"b'c", '"""\'', "\\\\\\"])
    def test_a_quoted_value_that_no_quotes_carry(self, value):
        with pytest.raises(ExpressionError, match="cannot be quoted"):
            Condition("a", "=", value, quoted=True)

    @pytest.mark.parametrize("value", ['"', "'", "\"''", "\\\"'", "\\\\", "a\nb", "", " "])
    def test_but_not_one_that_some_quotes_carry(self, value):
        tree = Condition("a", "=", value, quoted=True)

        assert parse(str(tree)) == tree

    @pytest.mark.parametrize("given", [10, None, b"a", ["a"]])
    def test_of_what_is_no_text(self, given):
        for build in (lambda: Condition(given, "=", "1"), lambda: Condition("a", given, "1")):
            with pytest.raises(ExpressionError, match="must be a string"):
                build()
        with pytest.raises(ExpressionError, match="10"):
            Condition("a", "=", given)

    def test_of_an_unknown_dialect(self):
        with pytest.raises(ExpressionError, match="dialect"):
            Condition("a", "=", "1", dialect="ftrack")

    @pytest.mark.parametrize("join", [And, Or])
    def test_a_junction_of_less_than_two(self, join):
        for children in ((), (A,)):
            with pytest.raises(ExpressionError, match="two"):
                join(children)

    @pytest.mark.parametrize("build", [lambda child: And((A, child)), lambda child: Or((child, A)), Not])
    def test_around_everything_or_what_is_no_expression(self, build):
        with pytest.raises(ExpressionError, match="cannot be part of another one"):
            build(Everything())
        with pytest.raises(ExpressionError, match="must be expressions"):
            build("a=1")

    def test_of_two_dialects(self):
        with pytest.raises(ExpressionError, match="the same dialect"):
            And((A, Not(Condition("a", "=", "1", dialect=Dialect.FTRACK))))


def test_a_text_of_a_type_of_its_own_becomes_a_plain_one():
    class Name(str):
        pass

    condition = Condition(Name("a"), Name("="), Name("b"))

    assert {type(condition.key), type(condition.operator), type(condition.value)} == {str}
