from __future__ import annotations

import json

import pytest
from hypothesis import given
from rich.console import Console

from rxhub.errors import ExpressionError
from rxhub.event import Event
from rxhub.expression import Dialect, Explanation, explain, parse
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from tests.expression.strategies import ODDITIES, Hostile, HostileClass, any_candidates, any_trees

UPDATE = {
    "topic": "ftrack.update",
    "source": {"user": {"username": "jane"}},
    "data": {"count": 12, "empty": [], "entities": [{"type": "show"}, {"type": "<b>"}], "many": list(range(50))},
}


def everything_of(explanation: Explanation) -> str:
    """All three of its faces, drawn."""
    console = Console(width=100, quiet=True)
    console.print(explanation)
    return f"{explanation}{explanation!r}{explanation._repr_mimebundle_()}"


class TestAnExplanation:
    @given(any_trees, any_candidates)
    def test_agrees_with_the_tree_at_every_node_and_can_be_shown(self, tree, candidate):
        explanation = explain(tree, candidate)

        assert explanation.matched is bool(explanation) is tree.matches(candidate)
        waiting = [explanation]
        while waiting:
            node = waiting.pop()
            assert node.matched is node.expression.matches(candidate)
            waiting += node.children
        assert everything_of(explanation)

    def test_as_json_has_the_values_and_says_what_decides(self):
        told = explain("topic=ftrack.* and (data.entities.type=task or data.cuont=1)", UPDATE).to_json()

        assert (told["kind"], told["matched"], told["decisive"]) == ("all", False, True)
        topic, either = told["children"]
        assert topic == {
            "kind": "condition",
            "text": "topic=ftrack.*",
            "matched": True,
            "decisive": False,
            "values": ["ftrack.update"],
            "more": False,
            "detail": "found 'ftrack.update'",
            "children": [],
        }
        assert either["decisive"]
        assert either["children"][0]["values"] == ["show", "<b>"]
        assert "did you mean 'data.count'" in either["children"][1]["detail"]

    def test_as_json_shows_no_secrets_and_only_the_first_values(self):
        candidate = {"data": {"password": "hunter2", "many": list(range(50))}, "wide": {"in": list(range(50))}}
        told = explain("data.password=x and data.many=1 and wide=*", candidate).to_json()

        assert "hunter2" not in json.dumps(told)
        assert told["children"][0]["values"] == ["***"]
        assert told["children"][1]["values"] == list(range(10)) and told["children"][1]["more"]
        assert "… 30 more" in json.dumps(told["children"][2]["values"], ensure_ascii=False)

    @pytest.mark.parametrize(
        ("text", "candidate"),
        [
            ("data=*", {"data": {f"{i}": {f"{j}": ["a=b://c:d@e " * 80] * 20 for j in range(20)} for i in range(20)}}),
            (" and ".join(f"{'z' * 97}{i}=1" for i in range(50)), {f"{'k' * 96}{i:03}": 1 for i in range(1000)}),
            ("data.a.name.x=*", {"data": {"a": [{"name": {"x": "password=1", "type": "a"}}] * 9000}}),
            (" and ".join(f"data.a!={i}" for i in range(200)), {"data": {"a": list(range(5000))}}),
        ],
    )
    def test_never_does_more_work_than_a_step_budget_allows(self, text, candidate):
        budget = StepBudget(20_000)
        with pytest.raises(StepBudgetExceeded), budget:
            for _ in range(20):
                explain(text, candidate).to_json()

    def test_shows_what_was_found_and_where_a_path_broke_off(self):
        text = (
            "topic=ftrack.update and (source.user.name=jane or not data.count >= 10 or data.entities.type=task) "
            "and data.empty=1 and data.empty.x=1 and nothing=1 and source.user.username.x.y=1"
        )

        assert str(explain(text, UPDATE)) == (
            "[ ] all of\n"
            "  [x] topic=ftrack.update  found 'ftrack.update'\n"
            "  [ ] any of\n"
            "    [ ] source.user.name=jane  missing: no 'name' in 'source.user'\n"
            "    [ ] not\n"
            "      [x] data.count >= 10  found 12\n"
            "    [ ] data.entities.type=task  found 'show', '<b>'\n"
            "  [ ] data.empty=1  found an empty list\n"
            "  [ ] data.empty.x=1  missing: no 'x' in 'data.empty'\n"
            "  [ ] nothing=1  missing: no 'nothing'\n"
            "  [ ] source.user.username.x.y=1  missing: no 'x' in 'source.user.username'"
        )

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("topc=a", "missing: no 'topc'; did you mean 'topic'?"),
            ("Topic=a", "did you mean 'topic'?"),
            ("date.count=1", "missing: no 'date'; did you mean 'data.count'?"),
            ("not sorce.user.username=jane", "did you mean 'source.user.username'?"),
            ("tagret=x", "did you mean 'target'?"),
            ("data.coutn>1", "missing: no 'coutn' in 'data'; did you mean 'data.count'?"),
            ("data.entities.entity_typ=task", "did you mean 'data.entities.entity_type'?"),
        ],
    )
    def test_asks_whether_a_similar_key_was_meant(self, text: str, told: str):
        event = {"topic": "a", "data": {"count": 1, "entities": [{"entity_type": "task"}]}, "source": {}}
        assert told in str(explain(text, event))

    @pytest.mark.parametrize("text", ["custom=1", "data.other=1", "topic.x=1", "", "topic=b", f"{'x' * 5000}=1"])
    def test_asks_nothing_where_no_key_is_similar(self, text: str):
        event = {"topic": "a", "data": {"count": 1, f"{'x' * 5000}y": 1}, f"{'x' * 5000}y": 1}
        assert "did you mean" not in str(explain(text, event))

    def test_has_a_part_for_each_condition_whether_or_not_it_decided(self):
        explanation = explain("topic=x and source.user.username=jane", UPDATE)

        first, second = explanation.children
        assert not explanation
        assert (first.matched, first.values, first.present) == (False, ("ftrack.update",), 1)
        assert (second.matched, second.values, second.present) == (True, ("jane",), 3)

    def test_keeps_the_first_ten_values(self):
        explanation = explain("data.many=49", UPDATE)

        assert explanation.matched
        assert (explanation.values, explanation.more) == (tuple(range(10)), True)
        assert "8, 9, …" in str(explanation)

    def test_of_everything_is_one_line(self):
        assert str(explain("", None)) == "[x] everything"

    def test_of_ftracks_wildcard_shows_the_list_that_is_tested_as_a_whole(self):
        assert "found ['ab', 'c']" in str(explain("a=ab*", {"a": ["ab", "c"]}, Dialect.FTRACK))
        assert "found 'ab', 'c'" in str(explain("a=ab*", {"a": ["ab", "c"]}))

    def test_reads_events(self):
        assert explain("topic=x and id=*", Event("x")).matched

    def test_takes_a_tree(self):
        assert explain(parse("a=x*", Dialect.FTRACK), {"a": "ax"}).matched

    def test_refuses_what_is_no_subscription(self):
        with pytest.raises(ExpressionError):
            explain("a=", {})

    def test_escapes_what_it_shows(self):
        page = explain("data.entities.type='<i>&'", UPDATE)._repr_mimebundle_()["text/html"]

        assert "<b>" not in page
        assert "<i>" not in page
        assert "&lt;b&gt;" in page
        assert "&lt;i&gt;&amp;" in page

    def test_shows_itself_in_rich(self):
        console = Console(width=100, no_color=True)
        with console.capture() as printed:
            console.print(explain("topic=[bold] or topic=ftrack*".replace("[bold]", "'[bold]x'"), UPDATE))

        assert "└── [x] topic=ftrack*  found 'ftrack.update'" in printed.get()
        assert "[bold]x" in printed.get()

    @pytest.mark.parametrize("number", range(len(ODDITIES)))
    def test_can_be_made_and_shown_whatever_was_found(self, number):
        for text in ("a=1", "a!=1", "a>1", "a.b=1", "a=x*"):
            for dialect in Dialect:
                tree = parse(text, dialect)
                explanation = explain(tree, {"a": ODDITIES[number]()})
                assert explanation.matched is tree.matches({"a": ODDITIES[number]()})
                assert everything_of(explanation)

    @pytest.mark.parametrize("make", [Hostile, HostileClass])
    def test_survives_any_candidate(self, make):
        for candidate in (make(), {"a": make()}, {"a": [make()]}):
            assert everything_of(explain("a=1 or not a.b!=2", candidate))

    def test_stays_small(self):
        wide = explain("a in (" + ", ".join(["x" * 50] * 2_000) + ")", {"a": "y" * 10**6})
        long = explain(f"a='{'<' * 100_000}'", {"a": ["\n" * 10**5, {"k": "z" * 10**6}, 10**10_000]})

        assert len(str(wide)) < 50_000
        assert len(everything_of(long)) < 10_000
        assert str(long).count("\n") == 0
        assert "more parts" in str(wide)

    def test_finds_the_end_of_a_long_path_quickly(self):
        chain = {}
        for _ in range(10_000):
            chain = {"a": chain}

        explanation = explain(f"{'.'.join(['a'] * 10_000)}.b=1", chain)

        assert explanation.present == 10_000
        assert len(everything_of(explanation)) < 10_000

    def test_survives_cycles_and_shared_lists(self):
        ring = []
        ring.append(ring)
        shared = [{"b": "x"}]
        for _ in range(50):
            shared = [shared, shared]

        assert not explain("a.b=1", {"a": ring})
        assert explain("a.b=x", {"a": shared})
