from hypothesis import given, settings, strategies as st, target, event as ev
from rxhub.expression import Dialect
from rxhub.testing.satisfy import Plan, ENVELOPE
from rxhub.testing.strategies import *
from rxhub.testing.verdicts import *
from tests.expression.strategies import trees, plain_candidates, dialects
import time, collections
C=collections.Counter()

@settings(max_examples=300)
@given(dialects.flatmap(lambda d: st.tuples(candidates().flatmap(lambda c: st.tuples(st.just(c), expressions_matching(c, d))))))
def test_sat(t):
    (c, e), = t
    assert e.matches(c)
    try: Plan(e); C['ok']+=1
    except Undecided: C['und']+=1

@settings(max_examples=1500)
@given(dialects.flatmap(trees), plain_candidates)
def test_random(e, c):
    try: Plan(e); C['ok']+=1
    except Undecided: C['und']+=1
    except Unsatisfiable:
        C['unsat']+=1
        assert not e.matches(c)

@settings(max_examples=500)
@given(dialects.flatmap(lambda d: events().flatmap(lambda c: expressions_matching(c, d))), st.data())
def test_events(e, data):
    assert e.matches(data.draw(events_matching(e)))

def teardown_module():
    print(C)
