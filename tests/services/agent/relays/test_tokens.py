"""Which token a relay is shown, and when."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from meshloom.protocol.relay_token import join_token
from meshloom.testing.transport_ground import until
from meshloom_agent.relays.links import LONGEST_RETRY
from meshloom_management.addresses import RelayCredentials

pytestmark = pytest.mark.anyio
HOUR = 3600


@pytest.mark.parametrize(
    ("secret", "expires", "reason"),
    [("a secret", 1_799_999_999, "token: expired"), ("another", 1_900_000_000, "token: wrong secret")],
)
async def test_a_bad_token_is_refused_until_there_is_a_good_one_which_is_shown_at_once(
    world, shown, secret, expires, reason
):
    url = world.start("a")
    agent = world.agent(1, shown=shown(secret, expires))
    agent.set_servers(url)
    await until(lambda: world.ended("a", reason) >= 4)
    assert agent.home is None
    assert agent.links.errors[url].startswith("the relay rel://a:80 refuses: ")
    await until(lambda: len(world.relays["a"]) == 0)  # the next attempt is seconds away
    since, agent.token = anyio.current_time(), shown()
    agent.links.tokens_changed()
    await until(lambda: agent.home == url)
    assert anyio.current_time() - since < 1


async def test_refusals_are_not_answered_by_a_flood_of_attempts(world, shown):
    agent = world.agent(1, shown=shown(expires=1_000_000_000))
    agent.set_servers(world.start("a"))
    await world.later(HOUR)
    assert world.ended("a", "token: expired") < 2 * HOUR / LONGEST_RETRY + 20


async def test_a_new_token_disturbs_no_session_and_is_shown_to_the_next_relay(world, shown):
    url = world.start("a", secrets=("new", "a secret"))
    one, two = await world.pair(url)
    for each in (one, two):
        each.token = shown("new")
        each.links.tokens_changed()
    await world.talk(one, two)
    world.kill("a")
    world.start("a", secrets=("new",))
    await until(lambda: one.lost and one.reaches(two) and two.reaches(one))
    (lost,) = one.lost
    assert lost.startswith("rel://a:80: closed by ")
    await world.talk(one, two)


@pytest.mark.parametrize("off", [-HOUR, HOUR])
async def test_a_relay_whose_clock_is_off_by_an_hour_accepts_what_management_hands_out(world, off):
    handed = RelayCredentials(("rel://a:80",), "a secret").token("peer", datetime.fromtimestamp(world.now, UTC))
    url = world.start("a")
    world.now += off
    agent = world.agent(1, shown=join_token(*handed))
    agent.set_servers(url)
    await until(lambda: agent.home == url)


async def test_a_lifetime_shorter_than_the_clocks_differ_is_refused_as_expired(world):
    short = RelayCredentials(("rel://a:80",), "a secret", timedelta(minutes=30))
    handed = short.token("peer", datetime.fromtimestamp(world.now, UTC))
    url = world.start("a")
    world.now += HOUR
    agent = world.agent(1, shown=join_token(*handed))
    agent.set_servers(url)
    await until(lambda: world.ended("a", "token: expired"))
    assert agent.home is None


async def test_a_connection_lasts_as_long_as_newer_tokens_are_shown_and_no_packet_is_lost(world, shown_named):
    url = world.start("a")
    one, two = world.agent(1, shown=b""), world.agent(2, shown=b"")
    for number, each in enumerate((one, two), 1):
        each.take_named(shown_named(number, world.now + 60), url)
        each.set_servers(url)
    await until(lambda: one.home == two.home == url)
    one.want((two, url))
    two.want((one, url))
    await until(lambda: one.reaches(two) and two.reaches(one))
    session = one.links.session(url)
    for _ in range(20):
        await world.later(30)
        world.now += 30
        for number, each in enumerate((one, two), 1):
            each.take_named(shown_named(number, world.now + 60), url)
        await world.talk(one, two)
    assert one.links.session(url) is session
    assert one.lost == two.lost == []
    await world.later(65)
    await until(lambda: one.lost)
    assert world.ended("a", "token ended") >= 1


async def test_a_connection_whose_token_ends_is_opened_again_with_the_newest_one(world, shown):
    url = world.start("a")
    one, two = world.agent(1, shown=shown(expires=world.now + 60)), world.agent(2)
    for each in (one, two):
        each.set_servers(url)
    await until(lambda: one.home == two.home == url)
    one.want((two, url))
    two.want((one, url))
    await until(lambda: one.reaches(two) and two.reaches(one))
    one.token = shown()
    one.links.tokens_changed()
    await world.talk(one, two)
    await world.later(62)
    await until(lambda: one.lost and one.reaches(two) and two.reaches(one))
    assert world.ended("a", "token ended") == 1
    await world.talk(one, two)


async def test_a_token_with_a_name_that_comes_later_is_shown_at_once(world, shown, shown_named):
    url = world.start("a")
    agent = world.agent(1, shown=shown(expires=world.now + 60))
    agent.set_servers(url)
    await until(lambda: agent.home == url)
    session = agent.links.session(url)
    agent.take_named(shown_named(1), url)
    await world.later(200)
    assert agent.links.session(url) is session


async def test_a_relay_that_knows_no_names_is_shown_none(world, shown_named):
    a, b = world.start("a"), world.start("b")
    agent = world.agent(1)
    agent.take_named(shown_named(2), b)  # of no use at all, if it were shown
    agent.set_servers(a)
    await until(lambda: agent.home == a)
    agent.take_named(shown_named(3), b)
    await world.later(60)
    assert world.ended("a", "token: another peer's") == 0
    agent.set_servers(b)
    await until(lambda: world.ended("b", "token: another peer's"))
