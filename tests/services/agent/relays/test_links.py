"""Which relays an agent is connected to, and what it takes to stay so."""

import anyio
import pytest

from meshloom.errors import TransportError
from meshloom.testing.fakes.transport import MemoryTransport
from meshloom.testing.transport_ground import until
from meshloom_agent.relays import NamedTransport
from meshloom_agent.relays.links import STAGGER

pytestmark = pytest.mark.anyio
HOUR = 3600


async def test_the_first_relay_of_the_list_is_home_and_the_others_are_left_alone(world):
    urls = [world.start(name) for name in ("a", "b", "c")]
    agent = world.agent(1)
    agent.set_servers(*urls)
    await until(lambda: agent.home == "rel://a:80")
    assert set(agent.links.errors) == {"rel://a:80"}
    assert [len(world.relays[name]) for name in "abc"] == [1, 0, 0]


async def test_a_relay_that_says_nothing_costs_a_moment_and_is_left_when_another_answers(world):
    urls = [world.start(name) for name in ("a", "b")]
    world.network.shut.add(("a", 80))
    agent = world.agent(1)
    since = anyio.current_time()
    agent.set_servers(*urls)
    await until(lambda: agent.home == "rel://b:80")
    assert anyio.current_time() - since < 2 * STAGGER
    assert set(agent.links.errors) == {"rel://b:80"}
    world.network.open(("a", 80))


async def test_a_relay_that_refuses_is_no_home(world):
    urls = [world.start("a", peers=0), world.start("b")]
    agent = world.agent(1)
    agent.set_servers(*urls)
    await until(lambda: agent.home == "rel://b:80")


async def test_peers_of_one_relay_reach_each_other(world):
    await world.talk(*await world.pair(world.start("a")))


async def test_a_peer_at_another_relay_is_reached_there(world):
    near, far = world.start("near"), world.start("far")
    one, two = world.agent(1), world.agent(2)
    one.set_servers(near)
    two.set_servers()
    await until(lambda: one.home == near)
    one.want((two, far))
    two.want((one, far))
    await until(lambda: one.reaches(two) and two.reaches(one))
    await world.talk(one, two)
    assert one.home == near
    assert set(one.links.errors) == {near, far}


async def test_a_relay_that_nobody_needs_any_more_is_left(world):
    near, far = world.start("near"), world.start("far")
    one, two = world.agent(1), world.agent(2)
    one.set_servers(near)
    two.set_servers(far)
    one.want((two, far))
    two.want((one, far))
    await until(lambda: one.reaches(two) and len(world.relays["far"]) == 2)
    one.want()
    await world.later(50)
    assert len(world.relays["far"]) == 2  # it may be needed again
    await world.later(15)
    assert len(world.relays["far"]) == 1
    assert one.home == near


async def test_a_home_that_is_killed_is_replaced_by_another(world):
    urls = [world.start("a"), world.start("b")]
    one, two = await world.pair(*urls)
    world.kill("a")
    await until(lambda: one.home == two.home == "rel://b:80")
    (lost,) = one.lost
    assert lost.startswith("rel://a:80: closed by ")
    one.want((two, "rel://b:80"))
    two.want((one, "rel://b:80"))
    await until(lambda: one.reaches(two) and two.reaches(one))
    await world.talk(one, two)


async def test_a_relay_that_is_started_again_has_its_peers_again(world):
    url = world.start("a")
    one, two = await world.pair(url)
    world.kill("a")
    await until(lambda: one.lost and two.lost)
    assert one.links.errors[url]
    world.start("a")
    await until(lambda: one.reaches(two) and two.reaches(one))
    await world.talk(one, two)
    assert one.links.errors == {url: ""}


async def test_a_relay_that_drains_sends_its_peers_to_another_one(world):
    urls = [world.start("a"), world.start("b")]
    one, two = await world.pair(*urls)
    await world.relays["a"].drain()
    await until(lambda: one.home == two.home == "rel://b:80")
    assert one.lost == ["rel://a:80: the relay said that it closes"]
    assert world.ended("a", "draining") >= 2


async def test_a_relay_that_falls_silent_is_noticed_by_its_health_checks(world):
    one, two = await world.pair(world.start("a"))
    world.network.shut.add(("a", 80))
    since = anyio.current_time()
    await world.until(lambda: one.lost and two.lost, 60)
    assert anyio.current_time() - since <= 36
    assert one.lost == ["rel://a:80: no health check from the relay in time"]
    world.network.open(("a", 80))


# -- a network that loses, and that changes ------------------------------------------------------------------------


async def test_a_token_that_is_lost_on_the_way_is_shown_again(world):
    url = world.start("a")
    agent = world.agent(1)
    world.network.lose = 1
    since = anyio.current_time()
    agent.set_servers(url)
    await until(lambda: len(world.relays["a"]) == 1)
    world.network.lose = 0
    await until(lambda: agent.home == url)
    assert anyio.current_time() - since < 2
    assert world.ended("a", "no authentication") == 0


async def test_a_question_that_is_lost_on_the_way_is_asked_again(world):
    url = world.start("a")
    one, two = world.agent(1), world.agent(2)
    for each in (one, two):
        each.set_servers(url)
    await until(lambda: one.home == two.home == url)
    world.network.lose = 1
    since = anyio.current_time()
    one.want((two, url))
    two.want((one, url))
    world.network.lose = 0
    await until(lambda: one.reaches(two) and two.reaches(one))
    assert anyio.current_time() - since < 2


@pytest.mark.parametrize("lose", [2, 3, 10])
async def test_a_session_lasts_on_a_network_that_loses(world, lose):
    url = world.start("a")
    one, two = await world.pair(url)
    world.network.lose = lose
    await world.later(HOUR)
    assert one.lost == two.lost == []


async def test_a_changed_network_renews_the_connection_and_no_peer_is_lost(world):
    one, two = await world.pair(world.start("a"))
    for _ in range(3):
        before = one.links.session(one.home)
        one.links.renew()
        await until(lambda before=before: one.links.session(one.home) is not before and one.reaches(two))
        await until(lambda before=before: before.lost)
        await until(lambda: len(world.relays["a"]) == 2)
        await world.talk(one, two)
    kept = one.links.session(one.home)
    await world.later(60)
    assert one.links.session(one.home) is kept  # and no other, time and again
    assert one.lost == two.lost == []


async def test_what_stands_is_kept_while_it_cannot_be_replaced(world):
    url = world.start("a")
    one, two = await world.pair(url)
    world.refuses = True
    before = one.links.session(url)
    one.links.renew()
    await world.later(5)  # several attempts fail
    one.links.renew()
    await world.talk(one, two)
    assert one.links.session(url) is before
    world.refuses = False
    await until(lambda: one.links.session(url) is not before)
    await until(lambda: one.reaches(two))
    await world.talk(one, two)
    assert one.lost == two.lost == []


async def test_what_stands_is_left_when_it_dies_while_it_cannot_be_replaced(world):
    url = world.start("a")
    one, two = await world.pair(url)
    world.refuses = True
    one.links.renew()
    world.network.shut.add(("a", 80))
    await world.until(lambda: one.lost, 60)
    assert one.lost == ["rel://a:80: no health check from the relay in time"]
    assert not one.reaches(two)
    world.network.open(("a", 80))


async def test_a_relay_that_answers_after_a_direct_path_was_lost_keeps_its_connection_which_others_share(world):
    url = world.start("a")
    one, two = await world.pair(url)
    before = one.links.session(url)
    heard = before.received
    for times in range(1, 4):
        one.links.suspect(url)
        await world.later(3)
        assert before.received >= heard + times
    await world.talk(one, two)
    assert one.links.session(url) is before
    assert one.lost == two.lost == []


# -- transports ----------------------------------------------------------------------------------------------------


class Named(MemoryTransport):
    """Counts attempts, and carries no more than it is told."""

    def __init__(self, network, longest=8820):
        super().__init__(network)
        self.longest, self.attempts = longest, []

    async def connect(self, address, receiver):
        self.attempts.append(anyio.current_time())
        made = await super().connect(address, receiver)
        made.transport, made.max_message_size = self.name, min(self.longest, made.max_message_size)
        return made


def named(**transports):
    for name, transport in transports.items():
        transport.name = name
    return [NamedTransport(name, transport) for name, transport in transports.items()]


def used(agent, url):
    session = agent.links.session(url)
    return session.connection.transport if session is not None else None


async def test_the_first_transport_of_the_list_gets_a_start_and_the_others_are_not_tried_when_it_connects(world):
    url = world.start("a")
    first, second = Named(world.network), Named(world.network)
    agent = world.agent(1, transports=named(first=first, second=second))
    agent.set_servers(url)
    await until(lambda: used(agent, url) == "first")
    assert second.attempts == []


async def test_a_transport_that_does_not_get_through_costs_its_start(world):
    url = world.start("a")
    elsewhere = type(world.network)(shut={("a", 80)})
    first, second = Named(elsewhere), Named(world.network)
    agent = world.agent(1, transports=named(first=first, second=second))
    agent.set_servers(url)
    await until(lambda: used(agent, url) == "second")
    assert second.attempts[0] - first.attempts[0] == pytest.approx(STAGGER)
    elsewhere.shut.clear()


async def test_a_relay_that_answers_nothing_after_a_direct_path_was_lost_is_connected_to_anew(world):
    url, only = world.start("a"), Named(world.network)
    agent = world.agent(1, transports=named(only=only))
    agent.set_servers(url)
    await until(lambda: agent.home)
    agent.links.session(url).message_received = lambda _message: None
    agent.links.suspect(url)
    await until(lambda: len(only.attempts) == 2)


async def test_a_transport_that_fails_at_once_costs_nothing(world):
    url = world.start("a")
    first, second = Named(type(world.network)()), Named(world.network)
    agent = world.agent(1, transports=named(first=first, second=second))
    agent.set_servers(url)
    await until(lambda: used(agent, url) == "second")
    assert second.attempts[0] - first.attempts[0] < STAGGER / 2


async def test_without_a_transport_that_gets_through_each_ones_reason_is_told(world):
    nowhere = type(world.network)()
    agent = world.agent(1, transports=named(first=Named(nowhere), second=Named(nowhere)))
    agent.set_servers("rel://a:80")
    await until(lambda: agent.links.errors.get("rel://a:80"))
    assert agent.links.errors["rel://a:80"] == (
        "first: rel://a:80 cannot be reached: nobody is there; second: rel://a:80 cannot be reached: nobody is there"
    )


async def test_a_packet_that_is_too_long_for_a_transport_moves_that_relay_to_another_one(world):
    urls = [world.start("a"), world.start("b")]
    narrow, wide = Named(world.network, longest=1200), Named(world.network)
    one, two = world.agent(1, transports=named(narrow=narrow, wide=wide)), world.agent(2)
    one.set_servers(urls[0])
    two.set_servers(urls[0])
    one.want((two, urls[0]))
    two.want((one, urls[0]))
    await until(lambda: one.reaches(two) and two.reaches(one))
    assert used(one, urls[0]) == "narrow"
    for _ in range(100):
        assert not one.send(two, bytes(1300))
        one.links.too_long(urls[0], 1338)
    await until(lambda: used(one, urls[0]) == "wide" and one.reaches(two))
    assert one.send(two, bytes(1300))
    await until(lambda: two.packets == [(one.key, bytes(1300))])
    assert one.lost == two.lost == []
    world.kill("a")
    await until(lambda: one.lost)
    world.start("a")
    await until(lambda: used(one, urls[0]) == "wide")  # also the next time
    one.set_servers(urls[1])
    await until(lambda: used(one, urls[1]) == "narrow")  # another relay's path may be wider


async def test_a_transport_that_finds_a_wider_path_in_time_stays(world):
    url = world.start("a")
    transports = named(narrow=Named(world.network, longest=1200), wide=Named(world.network))
    one = world.agent(1, transports=transports)
    one.set_servers(url)
    await until(lambda: one.home == url)
    session = one.links.session(url)
    one.links.too_long(url, 1338)
    session.connection.max_message_size = 1400
    await world.later(10)
    assert one.links.session(url) is session


async def test_the_only_transport_is_kept_whatever_is_too_long_for_it(world):
    url = world.start("a")
    one = world.agent(1, transports=named(narrow=Named(world.network, longest=1200)))
    one.set_servers(url)
    await until(lambda: one.home == url)
    session = one.links.session(url)
    one.links.too_long(url, 1338)
    await world.later(10)
    assert one.links.session(url) is session


async def test_a_relay_that_must_not_be_connected_to_is_left_alone_and_says_why(world):
    url = world.start("near")
    agent = world.agent(1)

    async def locate(address):
        raise TransportError(f"the relay server {address.host} is not used at 127.0.0.1, which is the loopback's")

    agent.links.locate = locate
    agent.set_servers(url)
    await until(lambda: agent.links.errors.get(url))
    await world.later(120)
    assert "not used at 127.0.0.1" in agent.links.errors[url]
    assert agent.home is None
    agent.links.locate = None
    await world.until(lambda: agent.home, 60)
