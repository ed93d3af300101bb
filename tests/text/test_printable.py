"""No character that a terminal obeys, that reorders or hides text, or that cannot be encoded is left."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.errors import ExpressionError, NotFoundError, RxHubError
from rxhub.expression import parse
from rxhub.text.printable import inline, printable, printable_json, terminal_width

# Of each kind: C0, DEL, C1, bidirectional controls, zero-width, line separators, a byte order mark, a lone surrogate.
HOSTILE = "\x00\x07\x08\x0d\x1b\x7f\x85\x9b\x9d\u061c\u200b\u200d\u200e\u202a\u202e\u2028\u2029\u2066\u2069\ufeff\ud800"


@pytest.mark.parametrize("character", HOSTILE)
def test_what_is_not_printable_is_escaped(character: str) -> None:
    for show in (printable, inline):
        assert show(f"a{character}b").isprintable()
    assert printable(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"
    assert printable(f"{character}\n\tb", lines=True).endswith("\n\tb")


@pytest.mark.parametrize("character", "\u034f\u115f\u1160\u17b5\u180b\u180e\u3164\ufe0f\uffa0\U000e0041\U000e0100")
def test_characters_that_show_nothing_are_escaped(character: str) -> None:
    escaped = f"a{character.encode('unicode_escape').decode()}b"
    assert printable(f"a{character}b") == inline(f"a{character}b") == escaped
    assert json.loads(printable_json(f'"{character}"')) == character
    assert character not in printable_json(f'"{character}"')


def test_combining_marks_beyond_eight_in_a_row_are_escaped() -> None:
    assert printable("a" + 8 * "\u0301") == "a" + 8 * "\u0301"
    for show in (printable, inline, printable_json):
        assert show("a" + 10 * "\u0301" + "b") == "a" + 8 * "\u0301" + 2 * r"\u0301" + "b"
    assert printable("हिन्दी में नमस्ते, 日本語のテキスト") == "हिन्दी में नमस्ते, 日本語のテキスト"


@pytest.mark.parametrize("text", ["", "topic", "Größe", "日本語", "\\x9b", "🎬"])
def test_other_text_is_itself(text: str) -> None:
    assert printable(text) is text
    assert inline(text) is text


def test_blanks_are_kept_as_blanks() -> None:
    assert printable("a\u00a0b\u3000c") == "a b c"
    assert inline("a\nb\tc\u2028d") == "a b c d"


@given(st.text(st.characters(codec=None)))
def test_it_holds_for_every_text(text: str) -> None:
    assert printable(text).isprintable()
    assert inline(text).isprintable()
    assert all(line.isprintable() for line in printable(text, lines=True).replace("\t", "").split("\n"))


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_json_means_the_same(value: dict[str, object]) -> None:
    shown = printable_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert shown.isprintable()


def test_json_with_a_carriage_return_between_tokens_stays_json() -> None:
    assert json.loads(printable_json('{"a":\r1,"b":"\U000e0041\x9b"}')) == {"a": 1, "b": "\U000e0041\x9b"}
    assert "\r" not in printable_json('{"a":\r1}')


@pytest.mark.parametrize("kind", [RxHubError, NotFoundError])
def test_the_text_of_an_error_is_printable(kind: type[RxHubError]) -> None:
    error = kind("There is no \x9b\u202e.\nSubscribe again.")
    assert str(error) == "There is no \\x9b\\u202e.\nSubscribe again."
    assert error.args == ("There is no \x9b\u202e.\nSubscribe again.",)


@pytest.mark.parametrize("before", ["", "\x9b", "\u202e", "日本", "é", "\U0001f3ac", "\t", "x" * 50])
def test_the_caret_of_a_subscription_stands_below_the_fault(before: str) -> None:
    text = f'topic="{before}" and and'
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    shown = str(caught.value)
    assert all(line.isprintable() for line in shown.splitlines())
    excerpt, caret = shown.splitlines()[1:3]
    fault = text[caught.value.position :]
    assert excerpt.endswith(fault)
    assert terminal_width(excerpt.removesuffix(fault)) == caret.index("^")
