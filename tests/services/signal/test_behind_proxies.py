"""Streams by a reverse proxy, which answers PINGs itself: whether a client behind it is there cannot be asked."""

import pytest

from meshloom.model.keys import PrivateKey
from meshloom_front.forwarded import LOOPBACK, Proxies
from meshloom_signal import rates, shares
from meshloom_signal.service import FORWARDED
from meshloom_signal.standing import QUIET

pytestmark = pytest.mark.anyio
A, B, C = (PrivateKey.of(name * 32).public.text for name in (b"A", b"B", b"C"))
HELD = "UNAVAILABLE"
BY_PROXY = ("via", "2.0 proxy")


def named(address):
    return (FORWARDED[0], address)


@pytest.fixture
def peers(registered):
    return registered


async def refused(agent, key, *metadata):
    return (await agent.refused(key, *metadata)).name


class TestWhereTheProxyNamesAddresses:
    """And is believed."""

    @pytest.fixture
    def proxies(self):
        return Proxies(LOOPBACK)

    async def test_a_stranger_elsewhere_does_not_get_the_stream_of_an_unmodified_client(
        self, connect, peers, hear, clock
    ):
        proxy, stranger = await connect(), await connect()
        peers.addresses[B] = "192.0.2.7"
        own = await proxy.stream(B, named("192.0.2.7"))
        for seconds in (0, 11, 1000, 100_000):
            clock.now += seconds
            assert await refused(stranger, B, named("198.51.100.1")) == HELD
            assert await refused(stranger, B, named("192.0.2.7, 198.51.100.1")) == HELD, "he invents what is before it"
            assert await refused(stranger, B, named("192.0.2.7"), named("198.51.100.1")) == HELD
        await proxy.send(A, B)
        assert await hear(own) == b"sealed"

    async def test_a_stranger_who_came_first_gives_way_to_the_address_that_management_knows(self, connect, peers, hear):
        proxy = await connect()
        peers.addresses[B] = "192.0.2.7"
        stolen = await proxy.stream(B, named("198.51.100.1"))
        own = await proxy.stream(B, named("192.0.2.7"))
        assert await hear(stolen) is None
        await proxy.send(A, B)
        assert await hear(own) == b"sealed"

    async def test_a_client_that_went_silently_gets_its_stream_again_at_its_new_address(self, connect, peers, hear):
        before, after = await connect(), await connect()
        peers.addresses[B] = "192.0.2.7"
        old = await before.stream(B, named("192.0.2.7"))
        peers.addresses[B] = "203.0.113.5"
        new = await after.stream(B, named("203.0.113.5"))
        assert await hear(old) is None
        await after.send(A, B)
        assert await hear(new) == b"sealed"

    async def test_a_client_that_went_silently_gets_its_stream_again_at_the_same_address_a_minute_later(
        self, connect, peers, hear, clock
    ):
        before, after = await connect(), await connect()
        peers.addresses[B] = "192.0.2.7"
        old = await before.stream(B, named("192.0.2.7"))
        clock.now += QUIET - 1
        assert await refused(after, B, named("192.0.2.7")) == HELD
        await after.send(A, B, b"others may call it meanwhile")
        clock.now += 2
        await after.stream(B, named("192.0.2.7"))
        assert [await hear(old), await hear(old)] == [b"others may call it meanwhile", None]

    async def test_a_client_that_says_something_to_itself_keeps_its_stream(self, connect, peers, hear, clock, served):
        agent, stranger = await connect(), await connect()
        peers.addresses[B] = "192.0.2.7"
        own = await agent.stream(B, named("192.0.2.7"))
        for number in range(3):
            clock.now += QUIET - 1
            await agent.send_by("192.0.2.7", B, B, bytes([number]))
            assert await hear(own) == bytes([number])
            clock.now += QUIET - 1
            assert await refused(stranger, B, named("192.0.2.7")) == HELD

    async def test_a_stranger_cannot_speak_for_a_client_to_spare_it_its_own_words(self, connect, peers, hear, clock):
        """Where management knows no addresses, as in a signal service alone."""
        agent, stranger = await connect(), await connect()
        own = await agent.stream(B, named("192.0.2.7"))
        await agent.send_by("192.0.2.7", B, B, b"beat")
        for _ in range(4):
            await stranger.send_by("198.51.100.1", B, B, b"not its own")
            clock.now += QUIET / 2
            assert await refused(stranger, B, named("198.51.100.1")) == HELD
        assert await hear(own) == b"beat"

    async def test_strangers_use_up_neither_what_a_client_may_send_nor_what_it_may_get(
        self, connect, peers, hear, monkeypatch
    ):
        monkeypatch.setattr(rates, "BURST", 5.0)
        monkeypatch.setattr(shares, "SHARED_BURST", 3.0)
        monkeypatch.setattr(shares, "OWN_BURST", 2.0)
        proxy = await connect()
        peers.addresses[A] = "192.0.2.7"
        own = await proxy.stream(B, named("192.0.2.8"))
        for _ in range(10):
            await proxy.send_by("198.51.100.1", A, B, b"rubbish")
        await proxy.send_by("192.0.2.7", A, B, b"offer")
        assert [await hear(own) for _ in range(6)] == [b"rubbish"] * 5 + [b"offer"]


class TestWhereItDoesNot:
    """Or is not believed: all callers have one address."""

    @pytest.fixture(params=["127.0.0.1", ""])
    def known(self, request, peers):
        peers.addresses[B] = request.param

    async def test_a_stranger_does_not_get_the_stream_of_a_client_that_may_be_there(self, connect, hear, clock, known):
        proxy, stranger = await connect(), await connect()
        own = await proxy.stream(B, BY_PROXY)
        for seconds in (0, 11, 1000, 100_000):
            clock.now += seconds
            assert await refused(stranger, B, BY_PROXY) == HELD
            assert await refused(stranger, B, named("127.0.0.1")) == HELD
        await proxy.send(A, B)
        assert await hear(own) == b"sealed"

    async def test_a_client_whose_words_to_itself_have_ended_has_gone(self, connect, hear, clock, known):
        before, after = await connect(), await connect()
        old = await before.stream(B, BY_PROXY)
        await before.send(B, B, b"beat")
        clock.now += QUIET - 1
        assert await refused(after, B, BY_PROXY) == HELD
        await after.send(A, B, b"hears something, and need not say anything")
        clock.now += QUIET - 1
        assert await refused(after, B, BY_PROXY) == HELD
        clock.now += 1
        await after.stream(B, BY_PROXY)
        assert [await hear(old) for _ in range(3)] == [b"beat", b"hears something, and need not say anything", None]
