"""A STUN server in the simulated network (RFC 8489, Binding)."""

from meshloom.errors import ProtocolError
from meshloom.protocol.stun import Address, Attribute, Kind, encode, pack_address, parse
from meshloom.testing.lab.host import Host


class StunServer:
    """Tells who asks its address."""

    def __init__(self, host: Host, port: int = 3478) -> None:
        self.is_up = True
        self._port = host.bind(port, self._receive)
        self.address: Address = (host.addresses[0], port)

    def _receive(self, data: bytes, source: Address) -> None:
        try:
            request = parse(data)
        except ProtocolError:
            return
        if self.is_up and request.kind == Kind.REQUEST:
            mapped = Attribute.XOR_MAPPED_ADDRESS, pack_address(source, request.transaction)
            self._port.send(encode(Kind.SUCCESS, request.transaction, [mapped]), source)
