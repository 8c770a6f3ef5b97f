"""Which relays peers are told of, with which credentials, and what happens when one is down."""

from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import anyio
import attrs
import pytest
from prometheus_client import CollectorRegistry

from meshloom.config import Secret
from meshloom.errors import ConfigError
from meshloom.protocol.relay import relay_peer_id
from meshloom.protocol.relay_token import check_token, join_token, secret_key
from meshloom.rpc import management_pb2 as pb
from meshloom.testing.fakes.transport import MemoryRelays, MemoryTransport
from meshloom.testing.transport_ground import until
from meshloom_front.config import RelayTable, ServerConfig
from meshloom_management.addresses import RelayCredentials, ServiceAddresses
from meshloom_management.configured import service_addresses
from meshloom_management.relay_watch import RelayWatch
from meshloom_management.updates import Updates

pytestmark = pytest.mark.anyio

A, B, C = (f"rels://{name}.example:443" for name in "abc")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def config(tmp_path, **relay):
    return ServerConfig(public_url="https://mesh.example", data_dir=tmp_path, relay=RelayTable(**relay))


def test_a_server_that_relays_tells_of_itself_with_the_secret_that_it_keeps(tmp_path):
    relay = service_addresses(config(tmp_path), has_relay=True).relay
    assert relay.urls == ("rels://mesh.example:443",)
    assert relay.secret == (tmp_path / "relay.secret").read_text().strip()
    assert service_addresses(config(tmp_path), has_relay=True).relay.secret == relay.secret


def test_a_server_that_does_not_relay_tells_of_no_relay(tmp_path):
    assert service_addresses(config(tmp_path)).relay is None
    assert not (tmp_path / "relay.secret").exists()


def test_other_relays_are_told_of_in_the_order_given(tmp_path):
    given = config(tmp_path, urls=("rels://b.example", A, "rel://c.example"), secret=Secret("one\ntwo"))
    relay = service_addresses(given, has_relay=True).relay
    assert relay.urls_for("peer") == [B, A, "rel://c.example:80"]
    token = join_token(*relay.token("peer", NOW))
    assert not isinstance(check_token(token, [secret_key("one")], NOW.timestamp()), str)


@pytest.mark.parametrize(
    ("relay", "problem"),
    [
        ({"urls": (A,)}, "relay.secret"),
        ({"urls": ("https://a.example",), "secret": Secret("x")}, "relay.urls"),
        ({"urls": (A, B), "weights": (1,), "secret": Secret("x")}, "relay.weights"),
        ({"urls": (A, B), "weights": (1, -1), "secret": Secret("x")}, "relay.weights"),
        ({"urls": (A, A), "weights": (1, 1), "secret": Secret("x")}, "relay.urls"),
        ({"urls": (A,), "secret": Secret(" \n")}, "relay.secret"),
        ({"token_lifetime": timedelta(seconds=5)}, "relay.token_lifetime"),
    ],
)
def test_what_cannot_be_is_told_by_its_key(tmp_path, relay, problem):
    with pytest.raises(ConfigError, match=problem):
        service_addresses(config(tmp_path, **relay), has_relay=True)


def test_a_relay_that_is_down_is_not_told_of_unless_there_is_no_other():
    relay = RelayCredentials((A, B), "secret", down=frozenset({A}))
    assert relay.urls_for("peer") == [B]
    relay.down = frozenset({A, B})
    assert relay.urls_for("peer") == [A, B]


def test_a_peer_is_told_of_no_more_relays_than_it_connects_to():
    urls = tuple(f"rels://{number}.example:443" for number in range(20))
    assert RelayCredentials(urls, "secret").urls_for("peer") == list(urls[:7])


def test_weights_share_the_peers_out_and_a_peers_relay_stays():
    relay = RelayCredentials((A, B, C), "secret", weights=(3, 1, 0))
    told = {f"peer{number}": relay.urls_for(f"peer{number}") for number in range(2000)}
    first = Counter(urls[0] for urls in told.values())
    assert first[C] == 0
    assert 0.7 < first[A] / 2000 < 0.8
    relay.down = frozenset({A})
    assert all(relay.urls_for(peer) == [url for url in urls if url != A] for peer, urls in told.items())


async def test_credentials_are_renewed_at_half_of_their_life_and_when_relays_change(account, accounts):
    relay = RelayCredentials((A, B), "secret", timedelta(hours=2))
    seconds = [1000.0]
    updates = Updates(accounts, ServiceAddresses("signal:443", relay=relay), "x", monotonic=lambda: seconds[0])
    peer = await account.enrol("a")
    async with updates.connected(account.id, peer.id) as stream:
        first = pb.SyncResponse.FromString(stream.take())
        assert list(first.netbirdConfig.relay.urls) == [A, B]
        relay.down = frozenset({A})
        updates.renew_config()
        second = pb.SyncResponse.FromString(stream.take())
        assert list(second.netbirdConfig.relay.urls) == [B]
        assert not second.HasField("NetworkMap")
        assert stream.take() is None
    assert updates._renew_every == 3600


class Relays:
    """Real relays in memory, and a watch of them."""

    def __init__(self):
        from meshloom_relay.limits import RelayLimits
        from meshloom_relay.service import Relay

        self.network, self.told, self.stacks, self.made = MemoryRelays(), [], {}, {}
        self.new = lambda url, secret: Relay(url, [secret], RelayLimits(), CollectorRegistry(), refusal=lambda *_: "")
        self.naming = []
        self.credentials = RelayCredentials((A, B), "secret")
        self.watch = RelayWatch(
            (A, B),
            [MemoryTransport(self.network)],
            lambda own: self.credentials.probe_tokens(own, datetime.now(UTC)),
            self.changed,
            every=0.01,
        )

    def changed(self, down, naming):
        self.naming.append(naming)
        if down != (self.told[-1] if self.told else frozenset()):
            self.told.append(down)

    async def start(self, url, secret="secret"):
        host = url.removeprefix("rels://").removesuffix(":443")
        self.made[url] = self.new(url, secret)
        stack = self.stacks[url] = AsyncExitStack()
        stack.enter_context(self.network.serve((host, 443), self.made[url].accept))

    async def stop(self, url):
        await self.stacks.pop(url).aclose()


@pytest.fixture
async def relays():
    made = Relays()
    yield made
    for url in list(made.stacks):
        await made.stop(url)


async def test_a_relay_that_dies_is_taken_out_and_back_again(relays):
    await relays.start(A)
    await relays.start(B)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relays.watch.run)
        await until(lambda: all(relays.made[url].where.here for url in (A, B)))
        assert relays.told == []
        await relays.stop(A)
        await until(lambda: relays.told == [frozenset({A})])
        await until(lambda: "nobody is there" in relays.watch.problems.get(A, ""))
        await relays.start(A)
        await until(lambda: relays.told == [frozenset({A}), frozenset()])
        tasks.cancel_scope.cancel()


async def test_a_relay_that_drains_is_taken_out_at_once(relays):
    await relays.start(A)
    await relays.start(B)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relays.watch.run)
        await until(lambda: relays.made[A].where.here)
        await relays.made[A].drain()
        await until(lambda: relays.told == [frozenset({A})])
        tasks.cancel_scope.cancel()


async def test_a_relay_that_refuses_the_tokens_is_not_told_of(relays):
    await relays.start(A, "another secret")
    await relays.start(B)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relays.watch.run)
        await until(lambda: relays.told == [frozenset({A})])
        tasks.cancel_scope.cancel()


async def test_which_relays_know_tokens_with_a_name_is_found_out_and_the_others_are_told_of_as_well(relays):
    await relays.start(A)
    await relays.start(B)
    relays.made[B]._refusal = lambda _, token: "malformed" if token.peer else ""  # as a relay of NetBird's
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relays.watch.run)
        await until(lambda: all(relays.made[url].where.here for url in (A, B)))
        assert relays.naming[-1] == {A}
        assert relays.told == []
        tasks.cancel_scope.cancel()


def relay_of(updates, state, peer):
    return pb.NetbirdConfig.FromString(updates.config(state, peer)).relay


async def test_a_peer_that_proves_itself_gets_a_token_with_its_name_for_the_relays_that_know_such(account, accounts):
    relay = RelayCredentials((A, B), "secret", naming=frozenset({B}))
    updates = Updates(accounts, ServiceAddresses("signal:443", relay=relay), "x")
    classic, proving = await account.enrol("classic"), await account.enrol("proving")
    await account.put(attrs.evolve(account.peer(proving.id), proves=True))
    told = relay_of(updates, account.state, proving.id)
    now = accounts.now().timestamp()
    token = check_token(join_token(told.named.payload, told.named.signature), [secret_key("secret")], now)
    assert (token.peer, token.account) == (relay_peer_id(proving.key), account.id)
    assert list(told.named.urls) == [B]
    assert list(told.urls) == [A, B]
    assert check_token(join_token(told.tokenPayload, told.tokenSignature), [secret_key("secret")], now).peer is None
    assert not relay_of(updates, account.state, classic.id).HasField("named")
    relay.naming = frozenset()
    assert not relay_of(updates, account.state, proving.id).HasField("named")


@pytest.mark.parametrize(("lifetime", "spread"), [(timedelta(hours=24), 3600), (timedelta(minutes=1), 7.5)])
def test_the_tokens_of_two_peers_differ_and_are_renewed_in_time(lifetime, spread):
    relay = RelayCredentials((A,), "secret", lifetime)
    expiries = [int(relay.token(f"peer{number}", NOW)[0]) - NOW.timestamp() for number in range(500)]
    longest = lifetime.total_seconds()
    assert all(longest - spread <= each <= longest for each in expiries)
    assert min(expiries) > ServiceAddresses("signal:443", relay=relay).renew_every
    assert max(Counter(expiries).values()) <= 500 // min(100, int(spread)) * 2


def test_a_server_that_relays_knows_that_its_own_relay_knows_tokens_with_a_name(tmp_path):
    own = "rels://mesh.example:443"
    assert service_addresses(config(tmp_path), has_relay=True).relay.naming == {own}
    listed = config(tmp_path, urls=(A, own), secret=Secret("x"))
    assert service_addresses(listed, has_relay=True).relay.naming == {own}
    assert (
        service_addresses(config(tmp_path, urls=(A,), secret=Secret("x")), has_relay=True).relay.naming == frozenset()
    )
