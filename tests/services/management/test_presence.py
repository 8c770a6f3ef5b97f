"""Who is online, as people see it; machines that come and go."""

import attrs
import pytest

from meshloom_management.presence import Presence

pytestmark = pytest.mark.anyio


@pytest.fixture
def seconds(clock):
    """A clock that goes as the other does, but was set at another moment."""
    start = clock.now

    def seconds():
        return (clock.now - start).total_seconds()

    return seconds


@pytest.fixture
def presence(accounts, seconds):
    return Presence(accounts, monotonic=seconds)


async def test_who_connects_and_leaves_is_written_down(account, presence, clock):
    made = await account.enrol("one")
    async with presence.of(account.id, made.id, "192.0.2.7"):
        await presence.write()
        assert account.peer(made.id).connected
        assert account.peer(made.id).connection_ip == "192.0.2.7"
        clock.pass_time(minutes=5)
    await presence.write()
    assert not account.peer(made.id).connected
    assert account.peer(made.id).last_seen == clock.now
    assert account.peer(made.id).connection_ip == "192.0.2.7"


async def test_many_at_once_are_one_write_that_no_map_shows(account, accounts, presence):
    made = [await account.enrol(f"m{number}") for number in range(20)]
    changes = []
    accounts.listen(lambda before, after, change: changes.append(change))
    serial = account.state.account.serial
    for peer in made:
        presence._note(account.id, peer.id, "192.0.2.7")
    await presence.write()
    await presence.write()
    assert [bool(change) for change in changes] == [False]
    assert account.state.account.serial == serial


async def test_a_second_stream_of_a_peer_keeps_it_online(account, presence):
    made = await account.enrol("one")
    async with presence.of(account.id, made.id, "192.0.2.7"):
        async with presence.of(account.id, made.id, "192.0.2.8"):
            pass
        await presence.write()
        assert account.peer(made.id).connected


async def test_after_a_restart_nobody_is_online_that_is_not(account, presence):
    made = await account.enrol("one")
    await account.put(attrs.evolve(account.peer(made.id), connected=True))
    await presence.write_all()
    assert not account.peer(made.id).connected


async def test_a_peer_that_is_gone_meanwhile_is_no_fault(account, presence):
    made = await account.enrol("one")
    async with presence.of(account.id, made.id, "192.0.2.7"):
        await account.change(lambda draft: draft.delete(type(made), made.id))
    await presence.write()
    assert made.id not in account.state.peers


async def test_ephemeral_peers_are_removed_some_time_after_they_left(account, presence, clock):
    text = await account.make_key(name="k", ephemeral=True)
    away, here, kept = await account.enrol("a", key=text), await account.enrol("b", key=text), await account.enrol("c")
    async with presence.of(account.id, here.id, "192.0.2.7"):
        clock.pass_time(minutes=9)
        await presence.remove_ephemeral()
        assert away.id in account.state.peers
        clock.pass_time(minutes=1)
        await presence.remove_ephemeral()
    assert account.state.peers.keys() == {here.id, kept.id} == account.state.all_group.peers
    await presence.write()  # it left now
    clock.pass_time(minutes=10)
    await presence.remove_ephemeral()
    assert account.state.peers.keys() == {kept.id}
