"""Failed authentications: counted, told with a bound, slowed by where they come from, and nobody else with them."""

from collections import Counter

import attrs
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_management.api.application import application
from meshloom_management.api.authentication import Reason
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.failures import Allowances, Failures, source_of

pytestmark = pytest.mark.anyio


class Seconds:
    """A clock that tests set."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def counted():
    return Counter()


@pytest.fixture
async def slowing(server, seconds, counted):
    """Asks the same accounts through an application that slows the third failure: ``(address, header)``."""
    failures = Failures(seconds, lambda reason: counted.update([reason]), Allowances(burst=2, every=3.0, most=3))
    app = application(server.accounts, ApiConfig(setup_secret=None), server.clock, failures)

    async def ask(address, header):
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as client:
            return await client.get("/api/groups", headers={"Authorization": header})

    ask.failures = failures
    return ask


async def test_who_fails_again_and_again_is_slowed(slowing, seconds):
    assert [(await slowing("192.0.2.1", "Token x")).status_code for _ in range(4)] == [401, 401, 429, 429]
    answer = await slowing("192.0.2.1", "Token x")
    assert answer.headers["retry-after"] == "3"
    message = "too many failed authentications: try again in 3 seconds"
    assert answer.json() == {"message": message, "code": 429}
    seconds.now += 3
    assert [(await slowing("192.0.2.1", "Token x")).status_code for _ in range(2)] == [401, 429]


async def test_a_good_token_of_the_same_address_works_on(server, slowing):
    for _ in range(5):
        await slowing("192.0.2.1", "Token x")
    assert (await slowing("192.0.2.1", f"Token {server.tokens['owner']}")).status_code == 200


async def test_others_are_not_slowed_with_him(slowing):
    for _ in range(5):
        await slowing("192.0.2.1", "Token x")
    assert (await slowing("192.0.2.2", "Token x")).status_code == 401


async def test_an_expired_token_is_slowed_from_wherever_it_is_tried(server, slowing):
    await server.add_expired()
    tried = [(await slowing(f"192.0.2.{n}", f"Token {server.tokens['expired']}")).status_code for n in range(1, 4)]
    assert tried == [401, 401, 429]


async def test_failures_are_counted_by_reason(server, slowing, counted):
    await server.add_expired()
    await server.put(attrs.evolve(server.user("user"), is_blocked=True))
    for header in ("", "Basic x", "Token x", f"Token {server.tokens['expired']}", f"Token {server.tokens['user']}"):
        await slowing("192.0.2.1", header)
    assert counted == {
        Reason.NO_CREDENTIALS: 2,
        Reason.UNKNOWN_TOKEN: 1,
        Reason.EXPIRED_TOKEN: 1,
        Reason.BLOCKED_USER: 1,
    }


async def test_a_thousand_failures_are_one_line(slowing, caplog):
    for number in range(1000):
        await slowing(f"192.0.2.{number % 250}", "Token x")

    def said():  # the client of the test has a log of its own
        return [record.getMessage() for record in caplog.records if record.name.startswith("meshloom")]

    assert said() == []
    slowing.failures.tell()
    slowing.failures.tell()
    assert said() == ["failed authentications of the HTTP API in the last minute: 1000 unknown token"]


# -- pure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "others"),
        ("somebody", "others"),
    ],
)
def test_a_source_is_an_address_of_ipv4_or_a_network_of_ipv6(address, source):
    assert source_of(address) == source


def test_those_that_come_when_all_places_are_taken_share_one():
    allowances = Allowances(burst=1, every=10, most=3)
    assert [allowances.spend(name, 0) for name in "abc"] == [0, 0, 0]
    assert [allowances.spend(name, 0) for name in "defg"] == [0, 10, 10, 10]
    assert allowances.spend("a", 0) == 10
    assert allowances.spend("d", 10) == 0, "the others' time has passed"


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 5)), max_size=300))
def test_memory_is_bounded_and_nobody_fails_faster_than_allowed(tries):
    allowances, now, passed = Allowances(burst=2, every=3.0, most=5), 0.0, {}
    for source, pause in tries:
        now += pause
        if allowances.spend(str(source), now) == 0:
            passed.setdefault(source, []).append(now)
        assert len(allowances) <= 6
    for times in passed.values():
        for first, fifth in zip(times, times[4:], strict=False):
            assert fifth - first >= 3.0 - 1e-6, "two of his own and two that all others share"
