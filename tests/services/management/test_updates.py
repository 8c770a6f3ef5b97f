"""Streams of connected peers: who is sent what, when, and why a stream ends."""

import base64
from datetime import timedelta

import anyio
import attrs
import pytest

from meshloom.model.group import Group
from meshloom.model.policy import Protocol, Rule
from meshloom.rpc import management_pb2 as pb
from meshloom.testing import samples
from meshloom_management.accounts import Accounts
from meshloom_management.addresses import RelayCredentials, ServiceAddresses
from meshloom_management.operations import enrolment, peers
from meshloom_management.updates import Ended, Updates
from meshloom_management.urgency import Urgency

pytestmark = pytest.mark.anyio

RELAY = RelayCredentials(("rels://relay.example:443",), "secret", timedelta(hours=2))
ADDRESSES = ServiceAddresses("signal.example:443", signal_tls=True, stun=("stun:stun.example:3478",), relay=RELAY)


@attrs.define
class Seconds:
    now: float = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def updates(accounts, seconds):
    return Updates(accounts, ADDRESSES, "default.example", monotonic=seconds)


def taken(stream):
    """What is ready to be sent."""
    body = stream.take() if stream.has_news else None
    return pb.SyncResponse.FromString(body) if body is not None else None


async def allow(account, name, members, **rule):
    group = samples.group(name, account_id=account.id, peers=frozenset(peer.id for peer in members))
    made = Rule(name, name, sources=frozenset({group.id}), destinations=frozenset({group.id}), **rule)
    await account.put(group, samples.policy(name, account_id=account.id, rules=(made,)))
    return group


async def test_the_first_message_is_the_whole_map(account, updates):
    a, b = await account.enrol("a"), await account.enrol("b")
    async with updates.connected(account.id, a.id) as stream:
        first = taken(stream)
        assert taken(stream) is None
    assert [remote.wgPubKey for remote in first.NetworkMap.remotePeers] == [b.key.text]
    assert first.NetworkMap.Serial == account.state.account.serial
    assert first.netbirdConfig.signal == pb.HostConfig(uri="signal.example:443", protocol=pb.HostConfig.HTTPS)
    assert [host.uri for host in first.netbirdConfig.stuns] == ["stun:stun.example:3478"]
    assert list(first.netbirdConfig.relay.urls) == ["rels://relay.example:443"]
    assert len(base64.b64decode(first.netbirdConfig.relay.tokenSignature)) == 32
    assert first.HasField("sessionExpiresAt")
    assert not first.sessionExpiresAt.seconds
    assert first.Version == 0


async def test_extra_labels_are_served_wildcards_too(account, updates):
    one = await account.enrol("one")
    text = await account.make_key(name="k", allow_extra_dns_labels=True)
    web = await account.enrol("web", key=text, labels=("shop", "*.shop"))
    async with updates.connected(account.id, one.id) as stream:
        (zone,) = taken(stream).NetworkMap.DNSConfig.CustomZones
    names = {record.Name for record in zone.Records if record.RData == str(web.ip)}
    assert names == {"web.default.example", "shop.default.example", "*.shop.default.example"}


async def test_only_those_are_told_whose_map_differs(account, updates):
    a, b, c = [await account.enrol(name) for name in "abc"]
    async with (
        updates.connected(account.id, a.id) as one,
        updates.connected(account.id, b.id) as two,
        updates.connected(account.id, c.id) as three,
    ):
        before = max(taken(stream).NetworkMap.Serial for stream in (one, two, three))
        await allow(account, "few", [a, b], protocol=Protocol.UDP)
        told = [taken(stream) for stream in (one, two, three)]
    assert [update is not None for update in told] == [True, True, False]
    assert all(update.NetworkMap.Serial > before for update in told[:2])


async def test_a_slow_reader_gets_the_newest_map_only(account, updates, seconds):
    a = await account.enrol("a")
    async with updates.connected(account.id, a.id) as stream:
        taken(stream)
        for name in "bcd":
            await account.enrol(name)
        seconds.now += 100
        await account.enrol("e")
        update = taken(stream)
        assert len(update.NetworkMap.remotePeers) == 4
        assert taken(stream) is None


async def test_nothing_is_sent_for_what_maps_do_not_show(account, updates):
    a, b = await account.enrol("a"), await account.enrol("b")
    async with updates.connected(account.id, a.id) as stream:
        taken(stream)
        await account.put(attrs.evolve(account.peer(b.id), connected=True, connection_ip="192.0.2.1"))
        assert not stream.has_news


async def test_a_change_that_is_taken_back_before_it_is_sent_is_no_news(account, updates):
    a, b = await account.enrol("a"), await account.enrol("b")
    async with updates.connected(account.id, a.id) as stream:
        taken(stream)
        await account.put(attrs.evolve(account.peer(b.id), dns_label="other"))
        await account.put(attrs.evolve(account.peer(b.id), dns_label="b"))
        assert stream.has_news
        assert taken(stream) is None


async def test_a_stream_knows_how_urgent_its_news_is(account, updates, monkeypatch):
    a, b, c = [await account.enrol(name) for name in "abc"]
    await allow(account, "all", [a, b, c], protocol=Protocol.UDP)
    async with updates.connected(account.id, a.id) as stream:
        assert stream.urgency is Urgency.NOW, "it has no map yet"
        taken(stream)
        await account.put(attrs.evolve(account.peer(b.id), dns_label="few"))
        assert stream.urgency is Urgency.NOW, "few are told"
        monkeypatch.setattr("meshloom_management.urgency.FEW", 0)
        taken(stream)
        await account.put(attrs.evolve(account.peer(b.id), dns_label="alone"))
        assert stream.urgency is Urgency.CHANGE
        taken(stream)
        for change, urgency in (
            (lambda: account.put(attrs.evolve(account.peer(b.id), dns_label="other")), Urgency.GROWTH),
            (lambda: allow(account, "more", [a, b], protocol=Protocol.TCP), Urgency.CHANGE),
            (lambda: account.change(lambda draft: peers.delete(draft, c.id)), Urgency.LOSS),
            (lambda: account.put(attrs.evolve(account.peer(b.id), dns_label="third")), Urgency.LOSS),
        ):
            await change()
            assert stream.urgency is urgency
        assert taken(stream) is not None
        assert stream.urgency is Urgency.GROWTH


async def test_a_newer_stream_of_a_peer_replaces_the_older(account, updates):
    a = await account.enrol("a")
    async with updates.connected(account.id, a.id) as old:
        taken(old)
        async with updates.connected(account.id, a.id) as new:
            assert not await old.wait()
            assert old.ended is Ended.REPLACED
            assert taken(new) is not None
            assert len(updates) == 1
    assert not updates.is_connected(a.id)


async def test_a_removed_peers_stream_ends_and_the_others_lose_it(account, updates):
    a, b = await account.enrol("a"), await account.enrol("b")
    async with updates.connected(account.id, a.id) as one, updates.connected(account.id, b.id) as two:
        taken(one), taken(two)
        await account.change(lambda draft: peers.delete(draft, b.id))
        assert two.ended is Ended.REMOVED
        assert two.take() is None
        assert taken(one).NetworkMap.remotePeersIsEmpty
        with pytest.raises(Exception, match="not registered"):
            await enrolment.tell(account.accounts, b.key, b.meta)


async def test_a_server_that_stops_ends_all_streams_and_takes_no_new_ones(account, updates):
    a = await account.enrol("a")
    async with updates.connected(account.id, a.id) as stream:
        updates.stop()
        assert stream.ended is Ended.STOPPING
    async with updates.connected(account.id, a.id) as late:
        assert not await late.wait()


async def test_credentials_are_renewed_without_a_map_before_they_expire(account, accounts):
    a = await account.enrol("a")
    soon = attrs.evolve(ADDRESSES, relay=attrs.evolve(RELAY, lifetime=timedelta(seconds=0.1)))
    updates = Updates(accounts, soon, "default.example")
    async with anyio.create_task_group() as tasks, updates.connected(account.id, a.id) as stream:
        taken(stream)
        tasks.start_soon(updates.run)
        with anyio.fail_after(5):
            assert await stream.wait()
        update = taken(stream)
        assert not update.HasField("NetworkMap")
        assert update.netbirdConfig.relay.tokenSignature
        tasks.cancel_scope.cancel()


async def test_serials_never_go_back_not_even_in_a_new_process(account, updates, store, clock):
    a = await account.enrol("a")
    serials = []
    async with updates.connected(account.id, a.id) as stream:
        for name in "bcd":
            serials.append(taken(stream).NetworkMap.Serial)
            await account.enrol(name)
            stream.notify(Urgency.NOW)
    async with Accounts.open(store, clock=clock) as again:
        after = Updates(again, ADDRESSES, "default.example")
        async with after.connected(account.id, a.id) as stream:
            serials.append(taken(stream).NetworkMap.Serial)
    assert serials == sorted(set(serials))


async def test_a_group_that_nothing_speaks_of_concerns_nobody(account, updates):
    a = await account.enrol("a")
    async with updates.connected(account.id, a.id) as stream:
        taken(stream)
        await account.put(Group(id="g", account_id=account.id, name="g", peers=frozenset({a.id})))
        assert not stream.has_news
