"""Tokens for relays: NetBird's, which are good for any peer, and those that name one."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.protocol.relay import LONGEST_AUTH, Auth, encode, relay_peer_id
from meshloom.protocol.relay_token import (
    RelayToken,
    check_token,
    issue_named_token,
    issue_token,
    join_token,
    secret_key,
)

ID = relay_peer_id(PublicKey.of(bytes(32)))
ACCOUNT = "0199c0de-0000-7000-8000-000000000001"
TOKEN = b"\1" + bytes(32) + b"1764000000"


def test_a_token_is_the_time_of_its_expiry_signed_with_the_hash_of_the_secret():
    payload, signature = issue_token("a secret", 1764000000)
    key = hashlib.sha256(b"a secret").digest()
    signed = hmac.digest(key, b"1764000000", "sha256")
    assert (payload, base64.b64decode(signature)) == ("1764000000", signed)
    assert join_token(payload, signature) == b"\1" + signed + b"1764000000"


def test_a_token_is_good_until_it_expires_and_with_each_of_the_secrets():
    token = join_token(*issue_token("old", 1764000000))
    keys = [secret_key("new"), secret_key("old")]
    assert check_token(token, keys, 1763999990.0) == RelayToken(1764000000, 10.0, token[1:33])
    assert not isinstance(check_token(token, keys, 1764000000.0), str)
    assert check_token(token, keys, 1764000000.5) == "expired"
    assert check_token(token, keys[:1], 1) == "wrong secret"
    assert check_token(token, [], 1) == "wrong secret"


@pytest.mark.parametrize("bad", [b"", b"\1", b"\0" + TOKEN[1:], b"\2" + TOKEN[1:], TOKEN[:20]])
def test_a_token_of_another_shape_is_malformed(bad):
    assert check_token(bad, [secret_key("a secret")], 1) == "malformed"


@pytest.mark.parametrize("payload", [b"", b"176400000", b"-1764000000", b"1764000000 ", b"1e99999999", b"9" * 21])
def test_a_token_whose_payload_is_no_time_is_malformed_though_signed(payload):
    key = secret_key("a secret")
    token = b"\1" + hmac.digest(key, payload, "sha256") + payload
    assert check_token(token, [key], 1) == "malformed"


@pytest.mark.parametrize(
    ("payload", "signature"),
    [("1764000000", "!"), ("1764000000", "AAAA"), ("soon", base64.b64encode(bytes(32)).decode())],
)
def test_what_management_hands_out_is_checked(payload, signature):
    with pytest.raises(ProtocolError):
        join_token(payload, signature)


def test_a_token_may_name_its_peer_and_account():
    payload, signature = issue_named_token("a secret", 1764000000, ACCOUNT, ID)
    assert payload == f"m1:1764000000:{ACCOUNT}:{base64.b64encode(ID[4:]).decode()}"
    token = join_token(payload, signature)
    assert len(encode(Auth(ID, token))) <= LONGEST_AUTH
    keys = [secret_key("a secret")]
    assert check_token(token, keys, 1763999000.0) == RelayToken(1764000000, 1000.0, token[1:33], ID, ACCOUNT)
    assert check_token(token, keys, 1764000001.0) == "expired"
    assert check_token(token, [secret_key("another")], 1.0) == "wrong secret"


@given(st.integers(0, 200), st.binary(min_size=1, max_size=1))
def test_a_named_token_that_was_changed_is_refused(at, byte):
    token = bytearray(join_token(*issue_named_token("a secret", 1764000000, ACCOUNT, ID)))
    before = bytes(token)
    token[at % len(token)] = byte[0]
    if bytes(token) != before:
        assert isinstance(check_token(bytes(token), [secret_key("a secret")], 1.0), str)


@pytest.mark.parametrize(
    "payload",
    [
        f"m1:1764000000:{ACCOUNT}:",
        f"m1:1764000000:{ACCOUNT}:AAAA",
        f"m1::{ACCOUNT}:{base64.b64encode(bytes(32)).decode()}",
        f"m1:1764000000::{base64.b64encode(bytes(32)).decode()}",
        f"m1:1764000000:a b:{base64.b64encode(bytes(32)).decode()}",
        f"m2:1764000000:{ACCOUNT}:{base64.b64encode(bytes(32)).decode()}",
        f"m1:1764000000:{'a' * 60}:{base64.b64encode(bytes(32)).decode()}",
        "m1:" + "1" * 200,
    ],
)
def test_a_payload_that_only_looks_like_a_named_one_is_malformed_though_signed(payload):
    key = secret_key("a secret")
    token = b"\1" + hmac.digest(key, payload.encode(), "sha256") + payload.encode()
    assert check_token(token, [key], 1) == "malformed"
