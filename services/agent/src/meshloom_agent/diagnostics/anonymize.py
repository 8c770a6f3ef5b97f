"""Names, addresses and domains replaced, the same one by the same each time, so that a report still makes sense.

Addresses keep what matters for finding faults: whether they are private, of a carrier's NAT, or public; and private
ones, and IPv6, of one network stay of one network. Loopback, multicast and masks say nothing of anybody and stay.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import attrs

KEPT_V4 = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")))
KEPT_V6 = (IPv6Network("fe80::/10"), IPv6Network("fc00::/7"))
PUBLIC_V4, PUBLIC_V6 = IPv4Network("198.18.0.0/15"), IPv6Network("2001:db8::/32")
"""What stands for public addresses: ranges for tests (RFC 2544) and examples (RFC 3849)."""
STAYING = frozenset(("localhost", "localhost.localdomain", "ip6-localhost"))

V4 = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?:/(\d{1,2})(?!\d))?(?![\w.]*\d)")
V6 = re.compile(
    r"(?<![\w:.])([0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:(?:\.\d{1,3}){3})?)"
    r"(?:/(\d{1,3})(?!\d))?(?![\w:])"
)
MAC = re.compile(r"(?<![\w:])(?!(?:00:){5}00|(?:ff:){5}ff)[0-9a-f]{2}(?::[0-9a-f]{2}){5}(?![\w:])", re.IGNORECASE)
URL = re.compile(r"(?:://(?:[^/@\s\"']*@)?|\b(?:stun|turn)s?:)([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)")
USERINFO = re.compile(r"://[^/@\s\"']*@")
HOME = re.compile(r"/home/([^/\s\"':]+)")


@attrs.define
class Anonymizer:
    """Replaces, consistently for as long as it lives.

    Args:
        key: Random bytes, so that nobody can find the addresses by trying.
    """

    key: bytes = attrs.field(repr=False)
    _names: dict[str, str] = attrs.field(factory=dict, init=False)
    _counts: dict[str, int] = attrs.field(factory=dict, init=False)
    _addresses: dict[IPv4Address | IPv6Address, IPv4Address | IPv6Address] = attrs.field(factory=dict, init=False)
    _others: dict[tuple[str, str], str] = attrs.field(factory=dict, init=False)
    _pattern: re.Pattern[str] | None = attrs.field(default=None, init=False)

    def learn(self, names: Iterable[str]) -> None:
        """Names of hosts, with their domains or without, to be replaced wherever they stand as whole words."""
        for name in names:
            text = name.strip().strip(".").lower()
            if not text or text in STAYING or text in self._names or _is_address(text):
                continue
            label, _, domain = text.partition(".")
            if domain and domain not in self._names:
                self._names[domain] = f"domain-{self._next('domain')}.example"
            if label not in self._names:
                self._names[label] = f"host-{self._next('host')}"
            if domain:
                self._names[text] = f"{self._names[label]}.{self._names[domain]}"
            self._pattern = None

    def text(self, text: str) -> str:
        """The text with all replaced."""
        text = USERINFO.sub("://", text)
        self.learn(URL.findall(text))
        text = MAC.sub(lambda found: self._numbered("mac", found[0].lower(), "02:00:00:00:{:02x}:{:02x}"), text)
        text = V4.sub(self._address, V6.sub(self._address, text))
        text = HOME.sub(lambda found: "/home/" + self._numbered("user", found[1], "user-{1}"), text)
        if not self._names:
            return text
        if self._pattern is None:
            longest_first = sorted(self._names, key=len, reverse=True)
            words = "|".join(map(re.escape, longest_first))
            self._pattern = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
        return self._pattern.sub(lambda found: self._names[found[0].lower()], text)

    def value(self, value: Any) -> Any:
        """A value of JSON with all of its texts replaced; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(each) for key, each in value.items()}
        return [self.value(each) for each in value] if isinstance(value, list | tuple) else value

    def address(self, address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
        """What stands for an address."""
        if address.is_loopback or address.is_unspecified or address.is_multicast or _is_mask(address):
            return address
        made = self._addresses.get(address)
        if made is None:
            made = self._addresses[address] = self._made(address)
        return made

    def _made(self, address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
        if isinstance(address, IPv4Address):
            for network in KEPT_V4:
                if address in network:
                    return IPv4Address(self._mixed(int(address), network.prefixlen, 32))
            return PUBLIC_V4[self._next("v4") % PUBLIC_V4.num_addresses]
        for kept in KEPT_V6:
            if address in kept:
                return IPv6Address(self._mixed(int(address), kept.prefixlen, 128))
        rest = self._mixed(int(address), 32, 128) & int(PUBLIC_V6.hostmask)
        return IPv6Address(int(PUBLIC_V6.network_address) | rest)

    def _mixed(self, number: int, keep: int, bits: int) -> int:
        """Each bit after the first flipped by what stands before it: common prefixes stay common."""
        made = number
        for at in range(keep, bits):
            before = number >> (bits - at)
            digest = hmac.digest(self.key, b"%d %d %x" % (bits, at, before), hashlib.sha256)
            made ^= (digest[0] & 1) << (bits - 1 - at)
        return made

    def _address(self, found: "re.Match[str]") -> str:
        try:
            address = ip_address(found[1])
            made = self.address(address)
        except ValueError:
            return found[0]
        if found[2] is None:
            return str(made)
        length = int(found[2])
        if length <= address.max_prefixlen and not _host_part(address, length):
            made = type(made)(int(made) >> (made.max_prefixlen - length) << (made.max_prefixlen - length))
        return f"{made}/{length}"

    def _numbered(self, kind: str, text: str, form: str) -> str:
        if (kind, text) not in self._others:
            number = self._next(kind)
            self._others[kind, text] = form.format(number >> 8 & 0xFF, number & 0xFF)
        return self._others[kind, text]

    def _next(self, kind: str) -> int:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind]


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _host_part(address: IPv4Address | IPv6Address, length: int) -> int:
    return int(address) & ((1 << (address.max_prefixlen - length)) - 1)


def _is_mask(address: IPv4Address | IPv6Address) -> bool:
    inverted = ~int(address) & 0xFFFFFFFF
    return address.version == 4 and int(address) >> 24 == 0xFF and inverted & (inverted + 1) == 0
