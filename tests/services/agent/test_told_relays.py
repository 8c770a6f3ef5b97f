"""The relays that management tells of, and which token each of them is shown."""

from meshloom.model.keys import PublicKey
from meshloom.protocol.relay import relay_peer_id
from meshloom.protocol.relay_token import issue_named_token, issue_token, join_token
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.network import ToldRelays, relays


def told(*urls, payload="1900000000", named=None, naming=()):
    config = pb.NetbirdConfig()
    config.relay.urls.extend(urls)
    config.relay.tokenPayload, config.relay.tokenSignature = payload, issue_token("secret", 1)[1]
    if named is not None:
        config.relay.named.payload, config.relay.named.signature = named
        config.relay.named.urls.extend(naming)
    return relays(config)


def test_relays_are_addresses_each_written_alike_and_not_too_many():
    made = told(
        "rels://a.example", "rel://b\n", "rels://a.example:443/x", "https://c", *(f"rel://{n}" for n in range(99))
    )
    assert made.urls[:2] == ("rels://a.example:443", "rel://0:80")
    assert len(made.urls) == 29, "of the first 32: one is twice there, two are none"
    assert made.known == made.urls
    assert told() == told("garbage") == told("rel://a", payload="soon") == ToldRelays()


def test_a_token_with_our_name_is_for_the_relays_that_know_such_and_the_other_for_all_others():
    named = issue_named_token("secret", 1900000000, "account", relay_peer_id(PublicKey.of(bytes(32))))
    made = told("rel://a", "rel://b", named=named, naming=("rel://b:80/relay", "rel://elsewhere"))
    tokens = made.tokens
    assert made.known == ("rel://a:80", "rel://b:80", "rel://elsewhere:80")
    assert [tokens.shown_at(url) == join_token(*named) for url in ("rel://a:80", "rel://b", "rel://x")] == [
        False,
        True,
        False,
    ]
    assert [tokens.renews(url) for url in ("rel://a:80", "rel://b:80")] == [False, True]
    assert not told("rel://a", named=("garbage", ""), naming=("rel://a",)).tokens.renews("rel://a")
    assert "1900000000" not in repr(tokens)
