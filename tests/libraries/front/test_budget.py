"""The budget of memory: whatever connections hold, a pool stays within its limit, and the largest goes first."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from meshloom_front.budget import Budget

STRANGERS, KNOWN = 1000, 5000
SIZES = st.integers(0, 600)
STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "set", "shrank", "prove", "close"]), st.integers(0, 30), SIZES), max_size=200
)


class Held:
    """One connection of the tests: what it really holds may be less than what was told last."""

    numbers = itertools.count()

    def __init__(self, budget, log, group=None, base=0):
        self.size, self.ended, self._log = 0, False, log
        group = str(next(self.numbers)) if group is None else group
        self.holding = budget.open(group, base, lambda: self.size, self.end)

    def end(self):
        self.ended = True
        self._log.append(self)

    def set(self, size):
        self.size = size
        self.holding.set(size)


@given(STEPS)
def test_whatever_happens_both_pools_stay_within_their_limits(steps):
    budget, log, made = Budget(STRANGERS, KNOWN), [], []
    for what, which, size in steps:
        if what == "open":
            made.append(Held(budget, log))
        elif made:
            each = made[which % len(made)]
            if what == "set":
                each.set(size)
            elif what == "shrank":  # the network took some of it without a word
                each.size = min(each.size, size)
            elif what == "prove":
                each.holding.prove()
            else:
                each.holding.close()
        for pool in (budget.strangers, budget.known):
            assert 0 <= pool.size <= pool.limit
            assert pool.size == sum(holding.size for holding in pool.holdings)
    counted = {*budget.strangers.holdings, *budget.known.holdings}
    assert not counted & {each.holding for each in made if each.ended}, "who was ended counts no longer"


@given(st.lists(st.integers(1, 100), min_size=2, max_size=60))
def test_the_largest_goes_first_and_an_eighth_is_free_then(sizes):
    budget, log = Budget(strangers=sum(sizes) - 1), []
    made = [Held(budget, log) for _ in sizes]
    for each, size in zip(made, sizes, strict=True):
        each.set(size)
    assert log
    stay = [each.size for each in made if not each.ended]
    assert min(each.size for each in log) >= max(stay, default=0)
    assert budget.strangers.size <= budget.strangers.limit * 7 / 8 + 1


def test_what_has_gone_out_meanwhile_ends_nobody():
    budget, log = Budget(strangers=100), []
    one, other = Held(budget, log), Held(budget, log)
    one.set(90)
    one.size = 10
    other.set(60)
    assert log == []
    assert budget.strangers.size == 70


def test_a_flood_of_strangers_takes_nothing_from_known_callers():
    budget, log = Budget(strangers=100, known=1000), []
    known = Held(budget, log)
    known.set(90)
    known.holding.prove()
    known.set(900)
    for _ in range(50):
        Held(budget, log).set(30)
    assert known not in log
    assert (budget.known.size, known.ended) == (900, False)


def test_of_strangers_those_of_the_network_that_holds_most_end_first_and_the_largest_of_them():
    budget, log = Budget(strangers=1000), []
    few = [Held(budget, log, group) for group in "abc"]
    for each in few:
        each.set(120)
    many = [Held(budget, log, "many") for _ in range(70)]
    for number, each in enumerate(many):
        each.set(9 + number % 2)
    assert log
    assert set(log) <= set(many)
    assert {each.size for each in log} == {10}


def test_what_a_connection_takes_itself_counts_from_the_first_change_on():
    budget, log = Budget(strangers=1000, known=1000), []
    made = [Held(budget, log, base=100) for _ in range(9)]
    for each in made:
        each.set(0)
    assert (budget.strangers.size, log) == (900, [])
    made[0].holding.prove()
    assert (budget.strangers.size, budget.known.size) == (800, 100)
    made[1].holding.base = 0
    made[1].set(5)
    assert budget.strangers.size == 705
    for _ in range(20):
        Held(budget, log, base=100).set(0)
    assert budget.strangers.size <= 1000
    assert log
