"""A page is text and HTML; the HTML is well formed and escaped."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from rxhub.display.page import Page, remark, table, tree
from rxhub.text.layout import TreeLine

texts = st.text(max_size=30) | st.sampled_from(["<script>alert(1)</script>", "</table>", "&", '"', "\ud800"])
trees = st.lists(
    st.builds(TreeLine, st.integers(0, 5), texts, texts, st.none() | st.booleans(), st.booleans()), max_size=12
)


class Nesting(HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(html: str) -> set[str]:
    html.encode()
    parser = Nesting()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser.seen


@given(texts, st.lists(texts), trees, st.lists(st.tuples(texts, texts)), st.booleans())
def test_html_is_well_formed_and_has_no_elements_but_ours(title, chips, lines, rows, folds) -> None:
    page = Page(title, chips, [tree(lines, folds), table(("a", "b"), rows, ["no"]), remark(title)])
    found = page.bundle()
    assert elements(found["text/html"]) <= {
        *("style", "div", "strong", "span", "details", "summary", "table", "thead", "tbody", "tr", "th", "td")
    }
    assert found["text/plain"].encode()


def test_a_table_shows_its_first_hundred_rows_and_tells_of_the_others() -> None:
    many = table(("n",), ([str(number)] for number in range(10**9)), total=10**9)
    assert len(many.lines) == 102
    assert many.lines[-1] == "… and 999999900 more"
    assert "999999900 more" in many.html
