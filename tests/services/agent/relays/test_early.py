"""A handshake that is there before its way back waits for it; WireGuard would begin anew only after 5 s."""

from random import Random

import anyio
import pytest

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.relay import relay_peer_id
from meshloom.testing.fakes.tunnel import MemoryNetwork
from meshloom_agent.mesh import Mesh, RelayUse
from meshloom_agent.paths import Paths
from meshloom_agent.relays.early import MOST, EarlyHandshakes

INITIATION = b"\1\0\0\0".ljust(148, b"i")
DATA = b"\4\0\0\0".ljust(148, b"d")
OWN = PrivateKey.of(b"\1" * 32)
PEER = PublicKey.of(b"\2" * 32)
URL = "rel://relay.test:80"


def peer(number):
    return relay_peer_id(PublicKey.of(number.to_bytes(32, "big")))


def test_only_what_begins_a_handshake_is_kept():
    early = EarlyHandshakes()
    assert not any(early.hold(peer(1), packet) for packet in (DATA, INITIATION[:-1], INITIATION + b"x", b""))
    assert early.hold(peer(1), memoryview(INITIATION))
    assert early.release(peer(1)) == INITIATION
    assert early.release(peer(1)) is None


def test_the_last_of_a_peer_is_kept_and_of_few_peers():
    early = EarlyHandshakes()
    for number in range(MOST + 1):
        early.hold(peer(number), INITIATION)
    newer = INITIATION[:-1] + b"n"
    early.hold(peer(1), newer)
    assert len(early) == MOST
    assert early.release(peer(0)) is None
    assert early.release(peer(1)) == newer


class Connection:
    """To a relay that forwards nothing."""

    max_message_size, transport = 0, "memory"

    def send(self, message):
        return True


class Session:
    connection = Connection()


@pytest.mark.anyio
async def test_wireguard_has_it_when_the_relay_reaches_the_peer(monkeypatch):
    mesh = Mesh(OWN.public, Random(1).randbytes)
    paths = Paths(mesh, OWN.public, [], lambda _: None, lambda: None, relays_changed=lambda: None)
    delivered = []
    async with MemoryNetwork()._opened("test0") as tunnel, anyio.create_task_group() as tasks:
        paths.start(tunnel, tasks)
        paths._relayed_packet(relay_peer_id(PEER), INITIATION)  # nobody has told us of a relay yet
        mesh.relays[PEER] = RelayUse(URL)
        paths._settle_relayed()
        path = paths._relayed[relay_peer_id(PEER)]
        monkeypatch.setattr(path, "deliver", delivered.append)
        paths._relayed_packet(relay_peer_id(PEER), DATA)
        assert delivered == [DATA]  # it needs no answer
        monkeypatch.setattr(paths.links, "session", lambda _: Session)
        paths._settle_relayed()
        assert delivered == [DATA, INITIATION]
        paths._relayed_packet(relay_peer_id(PEER), INITIATION)
        assert delivered == [DATA, INITIATION, INITIATION]
        tasks.cancel_scope.cancel()
