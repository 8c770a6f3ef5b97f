"""Takes network maps over: into the mesh and the tunnel, and on disk once the tunnel took them."""

import logging
from collections.abc import Callable
from functools import partial

import anyio
import attrs

from meshloom.errors import ProtocolError, TunnelError
from meshloom.model.keys import PresharedKey, PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom.tunnel import Tunnel, TunnelState
from meshloom_agent.files import AgentSettings
from meshloom_agent.in_use import InUse, PortKeeper, refusal_of
from meshloom_agent.network import OwnAddress, is_refused, mtu_refusal, own_address, remote_peers
from meshloom_agent.older_maps import OlderMaps
from meshloom_agent.paths import Paths
from meshloom_agent.report import PORT, Report
from meshloom_agent.trust import MapRefused, Refusals, Surroundings, check_overlay
from meshloom_agent.unenforced import unenforced
from meshloom_linux.ipv6 import NO_IPV6, ipv6_objection

_log = logging.getLogger(__name__)

DEFAULT_MTU = 1280
TUNNEL = "tunnel"
"""The part of the report that tells which map the tunnel does not take."""


class Maps:
    """The maps of one engine: :meth:`begin`, then :meth:`take` each new one, and :meth:`apply` when asked to.

    Args:
        keep: Keeps a map for the next start.
        apply_soon: Called when :meth:`apply` has something to do.

    Attributes:
        around: Addresses that the mesh must leave alone.
        config: The servers that management told last; they are kept with the map.
        serial: The number of the newest map; older ones are refused.
        use: What is in use.
        lacks_ipv6: Whether this host could have no IPv6 address in the mesh when it was told its own.
    """

    def __init__(
        self,
        settings: AgentSettings,
        report: Report,
        paths: Paths,
        keys: tuple[PrivateKey, PresharedKey | None],
        *,
        keep: Callable[[pb.SyncResponse], None],
        apply_soon: Callable[[], None],
    ) -> None:
        self.around, self.config = Surroundings(), pb.NetbirdConfig()
        self.serial, self.use, self.lacks_ipv6 = 0, InUse(), False
        self._settings, self._report, self._paths = settings, report, paths
        self._key, self._preshared = keys
        self._keep, self._apply_soon = keep, apply_soon
        self._good: InUse | None = None
        self._last, self._older = 0, OlderMaps()
        self._next: InUse | None = None
        self._port = PortKeeper(settings.port, partial(report.refuse, PORT))
        self._is_begun = False

    def begin(self, config: pb.PeerConfig, kept: pb.NetworkMap) -> None:
        """Takes over what a login's answer says, or the last run's map.

        Raises:
            MapRefused, ProtocolError: This machine must not have that address.
        """
        own = self._own_of(config)
        is_same = kept.peerConfig.address == config.address
        self._adopt(InUse(kept if is_same else pb.NetworkMap(), own, self.serial))
        self._is_begun = True

    def take(self, new: pb.NetworkMap, *, begins_anew: bool) -> None:
        """Takes over a map that management sent, unless it is refused.

        Args:
            new: The map; it must not be changed any more.
            begins_anew: Whether it is the first of a stream that is known to be fresh: it may have any number, and
                those after it are in order with it alone.
        """
        old = self._next or self.use
        if self._older.are_believed(new.Serial, self.serial, anyio.current_time()):
            begins_anew = True
        if begins_anew:  # maps of the stream before say nothing of this one's, whatever becomes of its first
            self.serial = self._last = 0
        if why := is_refused(old.map, new, self.serial):
            self._report.refuse("network map", (f"the newest one is not applied: {why}",))
            self._report.counters.refused_maps += 1
            return
        before, after = len(old.map.remotePeers), len(new.remotePeers)
        if after * 2 < before:
            _log.warning("the network map has %d peers, and had %d (serial %d)", after, before, new.Serial)
        self.serial = new.Serial
        self._report.counters.maps += 1
        own = self._own_of(new.peerConfig) if new.HasField("peerConfig") else None
        use = InUse(new, own or old.own, new.Serial, is_new=True, is_whole=own is not None)
        if use.fits(self.use):
            self._adopt(use)
        else:  # the tunnel is asked first: if it refuses, no path is touched
            self._next = use
            self._apply_soon()

    def reconsider(self) -> None:
        """Takes our own addresses over again, since the host can have others now."""
        self.lacks_ipv6 = bool(ipv6_objection(self._settings.interface))
        if self.use.map.HasField("peerConfig") and (own := self._own_of(self.use.map.peerConfig)) is not None:
            self._adopt(attrs.evolve(self.use, own=own))

    async def apply(self, tunnel: Tunnel) -> None:
        """Makes the tunnel what it should be; a map that it refuses makes room for the last good one, or for none.

        Raises:
            TunnelError: The tunnel refuses, though nothing that management said is the reason.
        """
        if (new := self._next) is not None:
            try:
                await self._apply_with(tunnel, new.own)
            except TunnelError as error:
                self._next = None if self._next is new else self._next
                self._refuse(new, error)
            else:
                if self._next is new:  # else a newer one has come
                    self._adopt(new)
        use = self.use
        try:
            await self._apply_with(tunnel, use.own)
        except TunnelError as error:
            if use is self._good or use.own is None:
                raise
            if use is self.use:
                self._refuse(use, error)
                self._adopt(self._good or InUse())
                await self._apply_with(tunnel, self.use.own)
            return
        if use is not self._good and use.own is not None:
            self._took(use)

    # -- inside ------------------------------------------------------------------------------------------------

    def _own_of(self, config: pb.PeerConfig) -> OwnAddress | None:
        """Returns what this machine shall be; None where that is refused, which is said."""
        try:
            own = own_address(config)
            check_overlay(own.addresses, self.around)
        except (ProtocolError, MapRefused) as error:
            if not self._is_begun:
                raise
            self._report.refuse("address", (f"{error}; the old one stays",))
            return None
        self._report.refuse("address", ())
        self._report.refuse("mtu", mtu_refusal(config))
        objection = ipv6_objection(self._settings.interface)
        self.lacks_ipv6 = bool(objection)
        self._report.refuse("ipv6", self._no_ipv6(objection) if self._settings.ipv6 else ())
        if objection or not self._settings.ipv6:
            own = attrs.evolve(own, addresses=tuple(each for each in own.addresses if each.version == 4))
        return own

    @staticmethod
    def _no_ipv6(objection: str) -> tuple[str, ...]:
        return (f"{NO_IPV6}: {objection}; to be told no more: meshloom up --disable-ipv6",) if objection else ()

    def _adopt(self, use: InUse) -> None:
        """Does what follows from a map, and from our own addresses in it."""
        self.use, self._next = use, None
        report, paths, own = self._report, self._paths, use.own or OwnAddress()
        report.lazy = own.lazy if self._settings.lazy is None else self._settings.lazy
        report.addresses, report.fqdn = own.addresses, own.fqdn
        paths.set_lazy(report.lazy)
        paths.mesh.options = attrs.evolve(paths.mesh.options, mtu=self._mtu_of(own))
        paths.mesh.set_overlay([address.network for address in own.addresses])
        refusals = Refusals()
        peers = remote_peers(use.map, self._key.public, own.addresses, refusals, around=self.around)
        report.refuse("network map", refusals.told)
        report.refuse("policies", unenforced(use.map))
        paths.mesh.set_peers(peers, anyio.current_time())
        self._apply_soon()
        paths.flush()

    async def _apply_with(self, tunnel: Tunnel, own: OwnAddress | None) -> None:
        """Gives the tunnel these addresses of our own, and the peers as they are in use."""
        told, peers = own or OwnAddress(), self._paths.tunnel_peers(self._preshared)
        state = TunnelState(self._key, 0, told.addresses, self._mtu_of(told), peers)
        await self._port.apply(tunnel, state)

    def _mtu_of(self, own: OwnAddress) -> int:
        return self._settings.mtu or own.mtu or DEFAULT_MTU

    def _took(self, use: InUse) -> None:
        self._good = use
        if use.serial <= self.serial:  # else it is of a stream before
            self._last = use.serial
        self._report.refuse(TUNNEL, ())
        if use.is_new and use.is_whole:
            self._keep(pb.SyncResponse(netbirdConfig=self.config, NetworkMap=use.map))

    def _refuse(self, use: InUse, error: TunnelError) -> None:
        self._report.refuse(TUNNEL, (refusal_of(use, self._good, error),))
        self._report.counters.refused_maps += 1
        if use.is_new and self.serial == use.serial:  # the number of a map that is not used counts for nothing
            self.serial = self._last
