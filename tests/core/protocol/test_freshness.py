"""Proofs of freshness: good for one method, for a while, in one direction, from one server."""

import itertools
import os

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey
from meshloom.protocol.freshness import (
    AHEAD,
    LIFETIME,
    Challenges,
    Nonces,
    answer_proof,
    check_answer,
    derived_key,
    request_proof,
)
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb

SERVER, OTHER = PrivateKey.of(b"1" * 32), PrivateKey.of(b"2" * 32)
METHODS = ["Login", "Sync", "SyncMeta", "Logout", "Job"]


class Clock:
    def __init__(self, now=1_700_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("later", "good"),
    [(0, True), (LIFETIME - 1, True), (LIFETIME + 1, False), (1e9, False), (-AHEAD + 1, True), (-AHEAD - 1, False)],
)
def test_a_challenge_is_good_for_a_while(later, good):
    clock = Clock()
    challenges = Challenges(SERVER, clock, os.urandom)
    challenge = challenges.issue()
    clock.now += later
    assert challenges.is_good(challenge) is good


@pytest.mark.parametrize(
    ("registered", "now", "good"),
    [(-60, 0, True), (0, 0, True), (0.001, 0.002, False), (1, 1, False), (LIFETIME / 2, LIFETIME, False)],
)
def test_a_challenge_from_before_the_registration_proves_nothing(registered, now, good):
    clock = Clock()
    challenges = Challenges(SERVER, clock, os.urandom)
    proof, since = request_proof(challenges.issue(), "Logout", os.urandom), clock.now + registered
    clock.now += now
    assert challenges.proves(proof, "Logout", since) is good


def test_a_registration_that_has_not_come_yet_keeps_nobody_out():
    challenges = Challenges(SERVER, Clock(), os.urandom)
    assert challenges.proves(request_proof(challenges.issue(), "Sync", os.urandom), "Sync", Clock().now + 3600)


def test_every_instance_with_the_key_takes_the_challenge_and_nobody_else_does():
    clock = Clock()
    challenge = Challenges(SERVER, clock, os.urandom).issue()
    assert Challenges(SERVER, clock, os.urandom).is_good(challenge)
    assert not Challenges(OTHER, clock, os.urandom).is_good(challenge)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_what_the_server_did_not_hand_out_is_no_challenge(data):
    assert not Challenges(SERVER, Clock(), os.urandom).is_good(data)


@settings(deadline=None)
@given(st.integers(0, 39), st.integers(0, 7), st.integers(0, 60))
def test_a_changed_challenge_is_none(at, bit, length):
    challenges = Challenges(SERVER, Clock(), os.urandom)
    challenge = bytearray(challenges.issue())
    assert challenges.is_good(bytes(challenge[:length])) is (length >= len(challenge))
    assert not challenges.is_good(bytes(challenge) + b"\0")
    challenge[at] ^= 1 << bit
    assert not challenges.is_good(bytes(challenge))


@pytest.mark.parametrize(("made_for", "used_for"), list(itertools.product(METHODS, METHODS)))
def test_a_proof_is_good_for_its_method_only(made_for, used_for):
    challenges = Challenges(SERVER, Clock(), os.urandom)
    proof = request_proof(challenges.issue(), made_for, os.urandom)
    assert challenges.proves(proof, used_for) is (made_for == used_for)


def test_an_empty_proof_and_one_without_a_nonce_prove_nothing():
    challenges = Challenges(SERVER, Clock(), os.urandom)
    assert not challenges.proves(pb.RequestProof(), "")
    assert not challenges.proves(pb.RequestProof(challenge=challenges.issue(), method="Sync"), "Sync")


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_an_answer_or_any_other_message_is_never_a_proof(data):
    challenges = Challenges(SERVER, Clock(), os.urandom)
    answer = answer_proof(request_proof(challenges.issue(), "Sync", os.urandom)).SerializeToString()
    for read in (data, answer):
        try:
            proof = pb.RequestProof.FromString(read)
        except DecodeError:
            continue
        assert not challenges.proves(proof, proof.method)


def test_an_answer_belongs_to_its_request_and_place():
    one, other = (request_proof(b"challenge", "Sync", os.urandom) for _ in range(2))
    for number in range(3):
        check_answer(answer_proof(one, number), one, number)
    with pytest.raises(ProtocolError, match="number 0 of its stream, not 1"):
        check_answer(answer_proof(one), one, 1)
    with pytest.raises(ProtocolError, match="does not belong"):
        check_answer(answer_proof(other), one)
    with pytest.raises(ProtocolError, match="does not belong"):
        check_answer(pb.SyncResponse().proof, one)
    with pytest.raises(ProtocolError, match="does not belong"):
        check_answer(pb.AnswerProof(nonce=one.nonce, method="Login"), one)


def test_a_server_knows_its_own_nonces():
    nonces = Nonces(SERVER, os.urandom)
    sealed = [Box(SERVER, OTHER.public, nonces).seal(b"answer")[:24] for _ in range(100)]
    assert len(set(sealed)) == len(sealed)
    assert all(map(nonces.is_own, sealed))
    assert all(map(Nonces(SERVER, os.urandom).is_own, sealed))
    assert not any(map(Nonces(OTHER, os.urandom).is_own, sealed))


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_the_nonce_of_another_is_not_ours(nonce):
    assert not Nonces(SERVER, os.urandom).is_own(nonce)


def test_secrets_for_different_purposes_are_different():
    assert len({derived_key(key, purpose) for key in (SERVER, OTHER) for purpose in ("a", "b")}) == 4
