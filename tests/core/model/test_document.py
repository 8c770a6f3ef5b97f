"""Entities survive being written down, and damaged documents are named."""

import json
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Network, IPv6Network

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import StoreError
from meshloom.model.account import Account, Settings
from meshloom.model.document import from_document, to_document
from meshloom.model.group import Group
from meshloom.model.keys import PublicKey
from meshloom.model.peer import Peer
from meshloom.model.policy import Policy
from meshloom.model.setup_key import SetupKey
from meshloom.model.state import ENTITIES
from meshloom.model.user import PersonalAccessToken, User
from meshloom.testing.contracts.store import everything

st.register_type_strategy(PublicKey, st.binary(min_size=32, max_size=32).map(PublicKey.of))
ZONES = st.just(UTC) | st.just(timezone(timedelta(hours=5)))
CENTURIES = datetime(1900, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 - Hypothesis adds the zone itself
st.register_type_strategy(datetime, st.datetimes(*CENTURIES, timezones=ZONES))
st.register_type_strategy(timedelta, st.timedeltas(timedelta(0), timedelta(days=36500)))
st.register_type_strategy(IPv4Network, st.just(IPv4Network("100.64.0.0/16")))
st.register_type_strategy(IPv6Network, st.just(IPv6Network("fd12::/64")))

ACCOUNT = everything()[0]


@pytest.mark.parametrize("kind", ENTITIES, ids=lambda kind: kind.__name__)
def test_every_entity_survives_json(kind):
    @given(st.from_type(kind))
    def survives(entity):
        written = json.dumps(to_document(entity))
        assert from_document(kind, json.loads(written)) == entity
        assert json.dumps(to_document(from_document(kind, json.loads(written)))) == written

    survives()


def test_a_document_has_every_field():
    for entity in everything():
        assert list(to_document(entity)) == [field.name for field in attrs.fields(type(entity))]


def test_moments_are_in_utc_with_microseconds():
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert to_document(attrs.evolve(ACCOUNT, created_at=moment))["created_at"] == "2026-01-01T10:00:00.000000Z"


def test_a_moment_without_a_time_zone_cannot_be_written():
    with pytest.raises(ValueError, match="no time zone"):
        to_document(attrs.evolve(ACCOUNT, created_at=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_missing_fields_get_their_defaults():
    document = to_document(ACCOUNT)
    del document["serial"], document["settings"]["lazy_connection_enabled"]
    assert from_document(Account, document) == ACCOUNT


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        (Account, {"later": 1}, "later @ Account"),
        (Account, {"serial": True}, "Account.serial"),
        (Account, {"settings": {"network_range": "x"}}, "Account.settings.network_range"),
        (Account, {"created_at": "2026-01-01"}, "Account.created_at"),
        (Group, {"peers": [1]}, "Group.peers"),
        (Peer, {"key": "short"}, "Peer.key"),
        (Peer, {"ip": "fd00::1"}, "Peer.ip"),
        (Policy, {"rules": [{"action": "maybe"}]}, "Policy.rules[0].action"),
        (SetupKey, {"type": 1}, "SetupKey.type"),
        (User, {"role": None}, "User.role"),
        (PersonalAccessToken, {"user_id": None}, "PersonalAccessToken.user_id"),
    ],
)
def test_a_damaged_document_is_refused_with_the_fields_name(kind, change, named):
    (entity,) = (entity for entity in everything() if isinstance(entity, kind))
    with pytest.raises(StoreError) as refused:
        from_document(kind, {**to_document(entity), **change})
    assert named in str(refused.value)


@pytest.mark.parametrize("junk", [None, [], "text", 5, {}])
def test_what_is_no_document_is_refused(junk):
    with pytest.raises(StoreError):
        from_document(Settings, junk)
