from __future__ import annotations

from hypothesis import given

from rxhub.expression import compile
from tests.expression.strategies import any_candidates, any_trees


class TestACompiledExpression:
    @given(any_trees, any_candidates)
    def test_answers_as_its_tree_does(self, tree, candidate):
        assert compile(tree)(candidate) is tree.matches(candidate)
