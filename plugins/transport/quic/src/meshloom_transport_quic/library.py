"""The one place that reaches behind aioquic's public face: what it does not offer and a relay cannot do without."""

from collections.abc import Callable

from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    END_STATES,
    NetworkAddress,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.tls import Epoch

CONNECTION_ID = 8
"""Bytes of the connection identifiers that we give out."""
RESET_TOKEN = 16
OVERHEAD = 1 + 20 + 2 + 16 + 3
"""Bytes around a message in the largest packet: first byte, the other side's longest connection identifier, packet
number, tag (RFC 9000 section 17.3, RFC 9001 section 5.3), type and length of the frame (RFC 9221 section 4)."""
FRAME = 3
"""Bytes of type and length of a datagram frame."""
CLIENTS_CRYPTO, SERVERS_CRYPTO = 16 * 1024, 64 * 1024
"""Bytes of TLS at most that a client and a server may send in each stage of a connection; aioquic takes 512 KiB out of
order, and a message of 16 MiB in order."""
ACKNOWLEDGEMENTS = 256
"""Packets without anything to acknowledge that are remembered; the other side need never acknowledge those."""
OF_THE_DEAD = {"_state", "_close_event", "_is_client", "_network_paths"}
"""What a connection that is over is still asked for."""

ResetToken = Callable[[bytes], bytes]
"""The stateless reset token of a connection identifier."""


class Quic(QuicConnection):
    """A connection of aioquic that can be watched, probed and reset.

    Args:
        reset_token: Makes the stateless reset tokens (RFC 9000 section 10.3.2); random ones without it.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        *,
        original: bytes | None = None,
        retried: bytes | None = None,
        reset_token: ResetToken | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
        )
        self._reset_token = reset_token
        self._most_crypto = SERVERS_CRYPTO if self._is_client else CLIENTS_CRYPTO
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = 0  # everything is in datagrams
        self.waiting = self._datagrams_pending
        self.happened = self._events
        self._make_tokens()

    @property
    def has_begun(self) -> bool:
        """Whether a packet of the other side was authentic."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def ended(self) -> ConnectionTerminated | None:
        """Why it is closed, by either side, as soon as that is known."""
        return self._close_event

    @property
    def is_over(self) -> bool:
        """Whether nothing is sent or heard any more."""
        return self._state in END_STATES

    @property
    def round_trip(self) -> float:
        """Seconds, smoothed; 0 where nothing was acknowledged yet."""
        return self._loss._rtt_smoothed  # noqa: SLF001

    @property
    def longest_datagram(self) -> int:
        """Bytes of the longest message that the other side takes; negative where it takes none."""
        return (self._remote_max_datagram_frame_size or 0) - FRAME

    @property
    def packet_size(self) -> int:
        """Bytes of the largest UDP payload that is sent."""
        return self._max_datagram_size

    @packet_size.setter
    def packet_size(self, size: int) -> None:
        self._max_datagram_size = size

    def is_reset(self, datagram: bytes) -> bool:
        """Whether it is the stateless reset of the other side (RFC 9000 section 10.3.1)."""
        token = self._peer_cid.stateless_reset_token
        return bool(token) and datagram[-RESET_TOKEN:] == token

    def probe(self, size: int, done: Callable[[bool], None], now: float) -> list[tuple[bytes, NetworkAddress]]:
        """A packet of that size that says nothing, to send at once; *done* is told whether it arrived.

        It is outside congestion control, so that a loss for its size slows nothing down (RFC 9000 section 14.4).
        """
        path = self._network_paths[0]
        builder = QuicPacketBuilder(
            host_cid=self.host_cid,
            is_client=self._is_client,
            max_datagram_size=size,
            packet_number=self._packet_number,
            peer_cid=self._peer_cid.cid,
            spin_bit=self._spin_bit,
            version=self._version or 0,
        )
        builder.start_packet(QuicPacketType.ONE_RTT, self._cryptos[Epoch.ONE_RTT])

        def delivered(state: QuicDeliveryState) -> None:
            done(state is QuicDeliveryState.ACKED)

        frame = builder.start_frame(QuicFrameType.PING, handler=delivered)
        frame.push_bytes(bytes(builder.remaining_buffer_space))
        packet = builder._packet  # noqa: SLF001
        ready = self._flush_builder(builder, path, self._peer_cid.cid, now)
        if packet is not None:
            packet.in_flight = False
            self._loss._cc.bytes_in_flight -= packet.sent_bytes  # noqa: SLF001
        return ready

    def release(self) -> None:
        """Lets go of all but how it ended.

        aioquic's parts hold one another. Python looks for such garbage rarely, and then everybody waits for all of it.
        """
        if (tls := vars(self).get("tls")) is not None:
            vars(tls).clear()
        for space in self._spaces.values():
            space.sent_packets.clear()
        for name in vars(self).keys() - OF_THE_DEAD:
            delattr(self, name)

    def forget_acknowledgements(self) -> None:
        """Forgets old packets in which there were only acknowledgements.

        aioquic keeps them until the other side acknowledges something, which one that only listens never does.
        """
        sent = self._spaces[Epoch.ONE_RTT].sent_packets if self._spaces else {}
        if len(sent) > 2 * ACKNOWLEDGEMENTS:
            spare = [number for number, packet in sent.items() if not packet.in_flight]
            for number in spare[:-ACKNOWLEDGEMENTS]:
                del sent[number]

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(start)
        if end > self._most_crypto:
            raise QuicConnectionError(
                error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                frame_type=frame_type,
                reason_phrase="too much of TLS",
            )
        super()._handle_crypto_frame(context, frame_type, buf)

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        self._make_tokens()

    def _make_tokens(self) -> None:
        if self._reset_token is None:
            return
        for identifier in self._host_cids:
            if identifier.sequence_number == 0 or not identifier.was_sent:
                identifier.stateless_reset_token = self._reset_token(identifier.cid)
