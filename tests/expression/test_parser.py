from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.errors import ExpressionError
from rxhub.expression import And, Condition, Dialect, Everything, Expression, Not, Or, parse
from rxhub.expression.parser import as_tree
from rxhub.text.printable import printable

EXPRESSIONS = (Path(__file__).parent.parent / "data" / "expressions.txt").read_text(encoding="utf-8").splitlines()


def equal(key: str, value: str, quoted: bool = False) -> Condition:
    return Condition(key, "=", value, quoted)


A, B, C, D = (equal(key, "1") for key in "abcd")

READ: list[tuple[str, Expression]] = [
    # precedence and parentheses
    ("a=1 and b=1 or c=1", Or((And((A, B)), C))),
    ("a=1 or b=1 and c=1", Or((A, And((B, C))))),
    ("not a=1 and b=1", And((Not(A), B))),
    ("not a=1 or b=1", Or((Not(A), B))),
    ("not (a=1 or b=1)", Not(Or((A, B)))),
    ("not not a=1", Not(Not(A))),
    ("a=1 and b=1 and c=1", And((A, B, C))),
    ("(a=1 and b=1) and c=1", And((And((A, B)), C))),
    ("a=1 and (b=1 or (c=1 and d=1))", And((A, Or((B, And((C, D))))))),
    ("((a=1))", A),
    ("(a=1)and(b=1)or(c=1)", Or((And((A, B)), C))),
    # keywords in any case, and where they are keys or values
    ("NOT a=1 AND b=1 Or c=1", Or((And((Not(A), B)), C))),
    ("notes=1", equal("notes", "1")),
    ("and=1", equal("and", "1")),
    ("in=5", equal("in", "5")),
    ("a=and", equal("a", "and")),
    ("a=not", equal("a", "not")),
    ("or=1 or and=1 and not=1", Or((equal("or", "1"), And((equal("and", "1"), equal("not", "1")))))),
    ("not=1", equal("not", "1")),
    ("not =1", equal("not", "1")),
    ("not!=1", Condition("not", "!=", "1")),
    ("not > 1", Condition("not", ">", "1")),
    ("not in (1)", equal("not", "1")),
    ("not in=5", Not(equal("in", "5"))),
    ("not in in (5)", Not(equal("in", "5"))),
    ("not not in (1)", Not(equal("not", "1"))),
    ("not not=1", Not(equal("not", "1"))),
    ("not.x=1", Not(equal(".x", "1"))),
    ("NoT.x=1", Not(equal(".x", "1"))),
    ("not-x=1", equal("not-x", "1")),
    ("not -x=1", Not(equal("-x", "1"))),
    ("noté=1", equal("noté", "1")),
    ("not_a=1", equal("not_a", "1")),
    ("a=1 and-b=1", And((A, equal("-b", "1")))),
    ("a=1 and.b=1", And((A, equal(".b", "1")))),
    ("a='1'and b=1", And((equal("a", "1", quoted=True), B))),
    # white space
    ("  a \n = \t 1 \r\n", A),
    ("a=1\u00a0and\u2003b=1", And((A, B))),
    ("a!=1", Condition("a", "!=", "1")),
    ("a>=1", Condition("a", ">=", "1")),
    ("a <= 1", Condition("a", "<=", "1")),
    ("a>1", Condition("a", ">", "1")),
    ("a<1", Condition("a", "<", "1")),
    # keys
    (".a=1", equal(".a", "1")),
    ("a..b=1", equal("a..b", "1")),
    (".=1", equal(".", "1")),
    ("a-b_c.0=1", equal("a-b_c.0", "1")),
    ("1=1", equal("1", "1")),
    ("größe=1", equal("größe", "1")),
    ("名前.नि=1", equal("名前.नि", "1")),
    # values
    ("a=x-_,./*@+:%#9", equal("a", "x-_,./*@+:%#9")),
    ("a=नि", equal("a", "नि")),
    ("a='x y'", equal("a", "x y", quoted=True)),
    ('a="it\'s"', equal("a", "it's", quoted=True)),
    ("a='say \"hi\"'", equal("a", 'say "hi"', quoted=True)),
    ('a=""', equal("a", "", quoted=True)),
    ('a="" and b=1', And((equal("a", "", quoted=True), B))),
    ('a="x\ty\nz"', equal("a", "x\ty\nz", quoted=True)),
    (r'a="C:\temp\n"', equal("a", r"C:\temp\n", quoted=True)),
    (r'a="x\"y"', equal("a", r"x\"y", quoted=True)),
    ('a="x""y"', equal("a", 'x""y', quoted=True)),
    ("a='it''s'", equal("a", "it''s", quoted=True)),
    # in
    ("a in (1)", A),
    ("a in (1, 2)", Or((A, equal("a", "2")))),
    ("a IN(1,2)", Or((A, equal("a", "2")))),
    ("a in ( 1 , '2,3' , \"(4)\" )", Or((A, equal("a", "2,3", True), equal("a", "(4)", True)))),
    ("a in (x*, y)", Or((equal("a", "x*"), equal("a", "y")))),
    ("not a in (1, 2)", Not(Or((A, equal("a", "2"))))),
    ("b=1 and a in (1, 2)", And((B, Or((A, equal("a", "2")))))),
    ("b=1 or a in (1, 2)", Or((B, Or((A, equal("a", "2")))))),
    # the empty subscription
    ("", Everything()),
    (" \t\n\u00a0", Everything()),
]


@pytest.mark.parametrize(("text", "tree"), READ, ids=[text for text, _ in READ])
def test_reads(text, tree):
    assert parse(text) == tree


WRONG: list[tuple[str, int, str]] = [
    ("a==1", 2, "one sign"),
    ("a=b && c=d", 4, "`and`"),
    ("a=b || c=d", 4, "`or`"),
    ("!a=b", 0, "`not`"),
    ("a=b and !c=d", 8, "`not`"),
    ("a='b", 2, "closing ' is missing"),
    ('a="C:\\"', 2, "backslash"),
    ("a", 1, "a=*"),
    ("studio.render.finished", 22, "topic=studio.render.finished picks"),
    ("studio.render.*", 14, "topic=studio.render.*"),
    ("data.tags contains urgent", 10, "data.tags=value"),
    ("topic LIKE studio", 6, "topic=value*"),
    ("data.note is null", 10, "not data.note=*"),
    ("a island", 2, ""),
    ("a and b=c", 2, "a=*"),
    ("(a)", 2, "a=*"),
    ("a=", 2, 'a=""'),
    ("a = and b=c d", 8, "Quote"),
    ("x not in (1)", 2, "not x in (…)"),
    ("x NOT  IN (1)", 2, "not x in (…)"),
    ("a ! = b", 2, "No blank"),
    ("a > = b", 4, "No blank"),
    ("a => b", 3, ">="),
    ("a =< b", 3, "<="),
    ("a <> b", 3, "!="),
    ("a ~ b", 2, "prefix"),
    ("a: b", 1, "`=`"),
    ("a in b", 5, "parentheses"),
    ("main (b)", 5, ""),
    ("a in ()", 6, "at least one value"),
    ("a in (b,)", 8, "one comma"),
    ("a in (,b)", 6, "at least one value"),
    ("a in (b,,c)", 8, "one comma"),
    ("a in (b c)", 8, "commas"),
    ("a in (b", 7, ""),
    ("a in ('b", 6, "closing ' is missing"),
    ("a=(b, c)", 2, "a in (a, b)"),
    ("a=x y", 4, "blanks"),
    ("a=x$y", 3, "Quote"),
    ("a=x and", 7, ""),
    ("a=x andb=c", 4, "blank"),
    ("a=x not b=c", 4, "`and not`"),
    ("a=x; b=c", 3, "Join"),
    ("a='x', b=c", 5, "commas"),
    ("and a=b", 0, ""),
    ("()", 1, "a condition at least"),
    ("(a=b", 4, "not closed"),
    ("a=b)", 3, "No parenthesis is open"),
    ("a=b (c=d)", 4, ""),
    ('"a"=b', 0, "without quotes"),
    ("*", 0, "everything"),
    ("a='x''", 2, "doubled quote"),
    ("a\x00=b", 1, ""),
    ("a=\x7f", 2, "Quote"),
    ("\ufeff\x01", 1, ""),
    ("not", 3, ""),
    ("a=b or or", 7, ""),
    ("x ın (1)", 2, ""),
    ("a=x AND\u0131=1", 4, "blank"),
]


@pytest.mark.parametrize(("text", "position", "hint"), WRONG, ids=[repr(text) for text, _, _ in WRONG])
def test_says_where_and_why_a_text_is_no_subscription(text, position, hint):
    with pytest.raises(ExpressionError) as raised:
        parse(text)

    error = raised.value
    assert (error.text, error.position) == (text, position)
    assert error.expected
    assert hint in error.hint
    assert "\n  " + " " * len(printable(text[:position])) + "^" in str(error)


class TestTheLimits:
    def test_length_is_limited(self):
        with pytest.raises(ExpressionError, match="max_length"):
            parse("a=" + "x" * 131_072)

        assert parse("a=" + "x" * 131_072, max_length=200_000).value == "x" * 131_072

    def test_conditions_are_limited_and_each_value_of_in_counts(self):
        with pytest.raises(ExpressionError, match="max_conditions") as raised:
            parse("a=1 or b in (1, 2)", max_conditions=2)

        assert raised.value.position == len("a=1 or b in (1,")
        assert parse("a=1 or b in (1, 2)", max_conditions=3)
        assert parse(" or ".join(["a=1"] * 2_000))
        with pytest.raises(ExpressionError, match="2000 conditions"):
            parse(" or ".join(["a=1"] * 2_001))

    @pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("not ", ""), ("not (", ")"), ("(b=1 or ", ")")])
    def test_parentheses_and_nots_open_at_once_are_limited(self, opening, closing):
        levels = 50 // (opening.count("(") + opening.count("not"))
        assert parse(opening * levels + "a=1" + closing * levels)
        with pytest.raises(ExpressionError, match="max_depth"):
            parse(opening * (levels + 1) + "a=1" + closing * (levels + 1))

    def test_what_is_closed_is_open_no_more(self):
        assert parse(" and ".join(["not (not a=1 or (b=1))"] * 100), max_depth=3)

    @pytest.mark.parametrize("levels", [119, 120])
    def test_a_tree_has_at_most_120_levels_whatever_max_depth_is(self, levels):
        text = "not " * levels + "a=1"
        if levels < 120:
            assert parse(text, max_depth=1_000).depth == 120
        else:
            with pytest.raises(ExpressionError, match="120 levels"):
                parse(text, max_depth=1_000)


class TestLargeTexts:
    """What takes more than linear time, or recurses, does not come to its end here."""

    def test_parentheses_are_refused_while_reading(self):
        with pytest.raises(ExpressionError) as raised:
            parse("(" * 20_000 + "a=1" + ")" * 20_000)

        assert raised.value.position == 50

    def test_many_conditions_are_read(self):
        text = " and ".join(["a=1 or b=2"] * 25_000)

        assert len(parse(text, max_length=10**6, max_conditions=50_000).children) == 25_001

    def test_many_values_are_read(self):
        text = "a in (" + ", ".join(["b"] * 30_000) + ")"

        assert len(parse(text, max_conditions=30_000).children) == 30_000

    @pytest.mark.parametrize(
        "text",
        ['a="' + "x" * 100_000, 'a="' + '""' * 50_000, 'a="' + r"\x" * 50_000, "a='" + '"' * 100_000],
    )
    def test_a_quote_that_is_never_closed_is_noticed_soon(self, text):
        with pytest.raises(ExpressionError, match="closing"):
            parse(text)

    @pytest.mark.parametrize("text", ["not" + " " * 100_000 + "x", "a" + " " * 100_000, "a in (b" + " " * 100_000])
    def test_white_space_is_passed_once(self, text):
        with pytest.raises(ExpressionError):
            parse(text)


TOKENS = [
    "a",
    "b.c",
    "not",
    "and",
    "or",
    "in",
    "=",
    "!=",
    ">=",
    "<",
    "(",
    ")",
    ",",
    "'x'",
    '"',
    "'",
    "\\",
    " ",
    "\n",
    "é",
]


class TestAnyText:
    @given(st.text() | st.lists(st.sampled_from(TOKENS), max_size=20).map("".join))
    def test_is_read_or_refused_with_an_expression_error(self, text):
        tree = error = None
        try:
            tree = parse(text)
        except ExpressionError as raised:
            error = raised

        if error:
            assert 0 <= error.position <= len(text)
            assert str(error)
        else:
            assert parse(str(tree)) == tree

    @given(st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join))
    def test_is_read_alike_in_both_dialects(self, text):
        def shape(dialect: Dialect) -> str:
            try:
                return type(parse(text, dialect)).__name__
            except ExpressionError as error:
                return str(error)

        assert shape(Dialect.RXHUB) == shape(Dialect.FTRACK)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_what_is_written_in_the_wild_is_read_and_printed(text, dialect):
    tree = parse(text, dialect)

    assert parse(str(tree), dialect) == tree


@pytest.mark.parametrize("given", [None, 5, b"a=1", ["a=1"], Condition("a", "=", "1")])
def test_only_text_is_parsed(given):
    with pytest.raises(ExpressionError, match="must be a string, but"):
        parse(given)


def test_only_a_dialect_is_a_dialect():
    with pytest.raises(ExpressionError, match="'ftrack' is not a dialect"):
        parse("a=1", "ftrack")


def test_a_text_of_a_type_of_its_own_is_a_text():
    class Name(str):
        def __len__(self):
            raise RuntimeError

    assert parse(Name("a=1")) == A
    assert type(parse(Name("a=x")).value) is str


def test_threads_may_parse_at_once():
    texts = EXPRESSIONS * 5

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(parse, texts)) == [parse(text) for text in texts]


class TestARememberedTree:
    def test_is_the_same_for_the_same_text_and_dialect(self):
        assert as_tree("a=1 and b=2", Dialect.RXHUB) is as_tree("a=1 and b=2", Dialect.RXHUB)
        assert as_tree("a=1 and b=2", Dialect.RXHUB) != as_tree("a=1 and b=2", Dialect.FTRACK)

    def test_is_given_back_as_it_is(self):
        assert as_tree(A, Dialect.FTRACK) is A
