"""Clocks that jump, a server that was away, streams that end at the wrong moment: nobody loses what he has."""

from contextlib import AsyncExitStack
from datetime import timedelta

import anyio
import attrs
import pytest

from meshloom.model.setup_key import SetupKey
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.errors import NotFound
from meshloom_management.operations import enrolment
from meshloom_management.presence import Presence
from meshloom_management.updates import Updates

pytestmark = pytest.mark.anyio


@attrs.define
class Seconds:
    """The clock that never jumps."""

    now: float = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def presence(accounts, seconds):
    return Presence(accounts, monotonic=seconds)


@pytest.fixture
async def ephemeral(account):
    text = await account.make_key(name="k", ephemeral=True)
    return [await account.enrol(name, key=text) for name in ("a", "b")]


async def pass_time(clock, seconds, **span):
    clock.pass_time(**span)
    seconds.now += timedelta(**span).total_seconds()


async def test_ephemeral_machines_outlive_an_hour_without_their_server(account, accounts, clock, seconds, ephemeral):
    await pass_time(clock, seconds, hours=1)
    again = Presence(accounts, monotonic=seconds)
    await again.write_all()
    await again.remove_ephemeral()
    assert len(account.state.peers) == 2, "they have had no chance to come back yet"
    async with again.of(account.id, ephemeral[0].id, "192.0.2.7"):
        await pass_time(clock, seconds, minutes=10)
        await again.remove_ephemeral()
    assert account.state.peers.keys() == {ephemeral[0].id}


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
async def test_a_clock_that_jumps_removes_nobody_and_keeps_nobody(ephemeral, presence, clock, seconds, jump):
    one = ephemeral[0]
    async with presence.of(one.account_id, one.id, "192.0.2.7"):
        pass
    clock.now += jump
    await presence.write()
    await presence.remove_ephemeral()
    assert presence._accounts.find_peer(one.key)
    clock.now -= jump
    await pass_time(clock, seconds, minutes=10)
    await presence.remove_ephemeral()
    assert not any(presence._accounts.find_peer(peer.key) for peer in ephemeral)


async def test_a_key_is_good_by_the_clock_that_is_and_bad_for_no_longer(account, clock):
    text = await account.make_key(name="k", expires_in=3600)
    clock.pass_time(hours=2)
    with pytest.raises(NotFound):
        await account.enrol("late", key=text)
    clock.pass_time(hours=-2)
    assert (await account.enrol("in-time", key=text)).name == "in-time"
    clock.pass_time(days=-3000)
    await account.enrol("long-ago", key=text)
    key = next(key for key in account.state.setup_keys.values() if key.name == "k")
    assert isinstance(key, SetupKey)
    assert key.used_times == 2


async def test_whatever_the_clock_says_serials_grow_and_ids_are_new(account, clock):
    text = await account.make_key(name="k", expires_in=0)
    serials, ids = [], set()
    for hours in (0, -50, 100, -50, 0, 0):
        clock.pass_time(hours=hours)
        made = await account.enrol(f"m{len(ids)}", key=text)
        ids.add(made.id)
        serials.append(account.state.account.serial)
    assert serials == sorted(set(serials))
    assert len(ids) == 6


@pytest.mark.parametrize("why", ["the server stops", "the peer is removed", "a newer stream takes over"])
async def test_a_stream_that_ends_while_it_waits_for_its_turn_to_send_ends(account, accounts, why):
    made = await account.enrol("one")
    updates = Updates(accounts, ServiceAddresses("signal.test:80", False, ("stun:stun.test:3478",)), "mesh.test")
    async with updates.connected(account.id, made.id) as stream, AsyncExitStack() as stack:
        assert await stream.wait()
        match why:
            case "the server stops":
                updates.stop()
            case "the peer is removed":
                await enrolment.log_out(accounts, made.key)
            case _:
                await stack.enter_async_context(updates.connected(account.id, made.id))
        assert stream.take() is None
        with anyio.fail_after(5):
            assert not await stream.wait()
