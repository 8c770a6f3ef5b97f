"""Proofs of keys for the signal service: only who holds the private key makes one, for one challenge of one process."""

import base64
import os

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.protocol.signal import decode
from meshloom.protocol.signal_proof import Verifier, prove
from meshloom.rpc import management_pb2
from meshloom.rpc import signalexchange_pb2 as pb

SERVER, AGENT, STRANGER = (PrivateKey.of(letter * 32) for letter in (b"s", b"a", b"x"))
verifier = Verifier(SERVER, os.urandom)


def test_who_holds_the_key_proves_it():
    challenge = verifier.challenge()
    assert verifier.proves(prove(challenge, AGENT, os.urandom).SerializeToString(), challenge, AGENT.public)


def forged(challenge):
    proof = prove(challenge, STRANGER, os.urandom)
    proof.key = AGENT.public.text
    return proof


def changed(challenge):
    proof = prove(challenge, AGENT, os.urandom)
    proof.body = proof.body[:-1] + bytes([proof.body[-1] ^ 1])
    return proof


def own_words(challenge):
    """Sealed by the right key, but not as a proof."""
    sealed = Box(AGENT, SERVER.public, os.urandom).seal(bytes(70))
    return pb.EncryptedMessage(key=AGENT.public.text, remoteKey=challenge, body=sealed)


def renamed(challenge):
    """A proof for an earlier challenge under the name of this one."""
    proof = prove(verifier.challenge(), AGENT, os.urandom)
    proof.remoteKey = challenge
    return proof


def of_another_process(challenge):
    other = Verifier(PrivateKey.of(b"o" * 32), os.urandom)
    proof = prove(other.challenge(), AGENT, os.urandom)
    proof.remoteKey = challenge
    return proof


@pytest.mark.parametrize("make", [forged, changed, own_words, renamed, of_another_process])
def test_nobody_else_does(make):
    challenge = verifier.challenge()
    assert not verifier.proves(make(challenge).SerializeToString(), challenge, AGENT.public)


def test_a_recorded_proof_is_not_good_for_the_next_challenge():
    recorded = prove(verifier.challenge(), AGENT, os.urandom).SerializeToString()
    assert not verifier.proves(recorded, verifier.challenge(), AGENT.public)


@pytest.mark.parametrize("raw", [bytes(32), b"\x01" + bytes(31)])
def test_keys_that_everybody_can_compute_with_prove_nothing(raw):
    challenge = verifier.challenge()
    proof = prove(challenge, AGENT, os.urandom)
    proof.key = PublicKey.of(raw).text
    assert not verifier.proves(proof.SerializeToString(), challenge, PublicKey.of(raw))


@given(st.binary(max_size=300))
def test_garbage_proves_nothing(data):
    assert not verifier.proves(data, verifier.challenge(), AGENT.public)


@pytest.mark.parametrize("text", ["", "x", base64.b64encode(bytes(47)).decode(), base64.b64encode(bytes(48)).decode()])
def test_what_is_not_a_challenge_is_not_answered(text):
    with pytest.raises(ProtocolError):
        prove(text, AGENT, os.urandom)


def test_a_hostile_server_that_names_another_key_gets_nothing_that_its_owner_reads():
    """The challenge of a hostile signal server may hold the public key of a peer or of a management server."""
    other = PrivateKey.of(b"o" * 32)
    challenge = Verifier(other, os.urandom).challenge()
    plain = Box(other, AGENT.public, os.urandom).open(prove(challenge, AGENT, os.urandom).body)
    with pytest.raises(ProtocolError):
        decode(plain, AGENT.public)
    for kind in (
        management_pb2.LoginRequest,
        management_pb2.SyncRequest,
        management_pb2.SyncMetaRequest,
        management_pb2.JobRequest,
        management_pb2.Empty,
    ):
        with pytest.raises(DecodeError):
            kind.FromString(plain)
