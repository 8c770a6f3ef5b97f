"""Which path carries a peer's packets."""

from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent.mesh.path import Health, PathChoice, Patience, Way

PATIENCE = Patience(first=2.0, longest=16.0, memory=100.0)


def choice():
    return PathChoice(PATIENCE)


def test_there_is_no_way_at_first():
    assert choice().way is Way.NONE


def test_the_first_path_that_works_is_used_and_a_direct_one_takes_over_at_once():
    path = choice()
    path.set_relay(True, 0.0)
    assert path.way is Way.RELAYED
    path.set_direct(Health.WORKS, 0.1)
    assert path.way is Way.DIRECT


def test_a_relay_that_opens_later_changes_nothing():
    path = choice()
    path.set_direct(Health.WORKS, 0.0)
    path.set_relay(True, 1.0)
    assert path.way is Way.DIRECT


def test_a_doubtful_direct_path_is_left_for_the_relay_at_once():
    path = choice()
    path.set_relay(True, 0.0)
    path.set_direct(Health.WORKS, 0.0)
    path.set_direct(Health.DOUBTFUL, 5.0)
    assert path.way is Way.RELAYED


def test_a_doubtful_direct_path_is_kept_where_there_is_no_relay():
    path = choice()
    path.set_direct(Health.WORKS, 0.0)
    path.set_direct(Health.DOUBTFUL, 5.0)
    assert path.way is Way.DIRECT
    path.set_direct(Health.GONE, 11.0)
    assert path.way is Way.NONE


def test_a_direct_path_that_failed_has_to_prove_itself_longer_each_time():
    path = choice()
    path.set_relay(True, 0.0)
    now = 0.0
    for hold in (0.0, 2.0, 4.0, 8.0, 16.0, 16.0):
        path.set_direct(Health.WORKS, now)
        if hold:
            assert path.way is Way.RELAYED
            assert path.deadline() == now + hold
            path.handle_timer(now + hold - 0.1)
            assert path.way is Way.RELAYED
            now += hold
            path.handle_timer(now)
        assert path.way is Way.DIRECT
        path.set_direct(Health.GONE, now)
        assert path.way is Way.RELAYED


def test_failures_are_forgotten():
    path = choice()
    path.set_relay(True, 0.0)
    path.set_direct(Health.WORKS, 0.0)
    path.set_direct(Health.GONE, 1.0)
    path.set_direct(Health.WORKS, 102.0)
    assert path.way is Way.DIRECT
    path.set_direct(Health.GONE, 103.0)
    path.set_direct(Health.WORKS, 104.0)
    path.forget_failures(104.5)
    assert path.way is Way.DIRECT


def test_the_direct_path_is_used_at_once_when_the_relay_is_lost():
    path = choice()
    path.set_relay(True, 0.0)
    path.set_direct(Health.WORKS, 0.0)
    path.set_direct(Health.GONE, 1.0)
    path.set_direct(Health.WORKS, 2.0)
    assert path.way is Way.RELAYED
    path.set_relay(False, 2.5)
    assert path.way is Way.DIRECT


EVENTS = st.lists(
    st.tuples(st.floats(0.0, 30.0), st.one_of(st.booleans(), st.sampled_from(Health))), min_size=1, max_size=60
)


@given(EVENTS)
def test_no_path_flaps_more_than_its_patience_allows(events):
    path, now, direct, relay = choice(), 0.0, Health.GONE, False
    returns = []
    for wait, event in events:
        due = path.deadline()
        if due is not None and due <= now + wait:
            path.handle_timer(due)
            returns.append(due)
        now += wait
        before = path.way
        if isinstance(event, bool):
            relay = event
            path.set_relay(event, now)
        else:
            direct = event
            path.set_direct(event, now)
        if before is Way.RELAYED and path.way is Way.DIRECT and relay:
            returns.append(now)
        assert path.way is not Way.RELAYED or relay
        assert path.way is not Way.DIRECT or direct is not Health.GONE
        assert path.way is not Way.NONE or not (relay or direct is Health.WORKS)
    for first, second, third in zip(returns, returns[1:], returns[2:], strict=False):
        assert third - first >= PATIENCE.first or second - first > PATIENCE.memory
