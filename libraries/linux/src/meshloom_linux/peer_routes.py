"""Routes of single peers, to whom less can be sent at once than the interface allows."""

import logging
import socket
from collections.abc import Mapping

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshloom.errors import words_of
from meshloom.model.keys import PublicKey
from meshloom.tunnel import IPNetwork, TunnelPeer

_log = logging.getLogger(__name__)

PROTOCOL = 0x4D
"""Mark of our routes (rtnetlink(7), rtm_protocol)."""


class PeerRoutes:
    """Those of one interface; the kernel removes them with it."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self.made: dict[IPNetwork, int] = {}
        """The routes that are there by our doing, each with its MTU."""

    async def apply(self, peers: Mapping[PublicKey, TunnelPeer]) -> None:
        """Have a route with that MTU to each peer's own addresses, where it has one; one that cannot be is logged."""
        wanted = {
            network: peer.mtu
            for peer in peers.values()
            if peer.mtu is not None
            for network in peer.allowed_ips
            if network.prefixlen == network.max_prefixlen
        }
        if wanted == self.made:
            return
        try:
            index = socket.if_nametoindex(self._interface)
        except OSError:
            return  # it is being removed
        async with AsyncIPRoute() as netlink:
            for network in self.made.keys() | wanted.keys():
                mtu = wanted.get(network)
                if mtu != self.made.get(network):
                    await self._set(netlink, index, network, mtu)
        self.made = wanted

    async def put_back(self, netlink: AsyncIPRoute, index: int, found: Mapping[IPNetwork, int]) -> None:
        """Makes the routes again that something else took away or changed."""
        for network, mtu in self.made.items():
            if found.get(network) != mtu:
                await self._set(netlink, index, network, mtu)

    async def _set(self, netlink: AsyncIPRoute, index: int, network: IPNetwork, mtu: int | None) -> None:
        about = {"dst": str(network), "oif": index, "proto": PROTOCOL}
        try:
            if mtu is None:
                await netlink.route("del", **about)
            else:
                await netlink.route("replace", metrics={"mtu": mtu}, **about)
        except NetlinkError as error:
            _log.warning("the MTU of the route to %s is not set: %s", network, words_of(error))
