"""Against another implementation's client: what either side says arrives byte for byte, whatever the windows."""

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from meshloom_front.http2 import events
from meshloom_front.http2.connection import ServerConnection
from meshloom_front.http2.frames import Code
from meshloom_front.http2.headers import STATUS_200, encode

LAST = encode([(b"grpc-status", b"0")])
HEADERS = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), ("te", "trailers")]
sizes = st.integers(0, 100_000) | st.sampled_from([0, 1, 16_384, 65_535, 65_536, 300_000])


class Both:
    """A client of h2 and our server, and the bytes between them in pieces of a size."""

    def __init__(self, piece, **changes):
        self.piece = piece
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.server = ServerConnection()
        self.client.initiate_connection()
        self.client.update_settings({getattr(h2.settings.SettingCodes, name): n for name, n in changes.items()})
        self.came: dict[int, bytes] = {}
        self.answers: dict[int, bytes] = {}
        self.trailers: dict[int, list] = {}
        self.reset: dict[int, int] = {}
        self.outgoing: dict[int, bytes] = {}
        self.run(lambda body: body)  # h2 takes longer frames only after the piece with our consent

    def call(self, path, body, padding):
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, [(":path", path), *HEADERS])
        self.outgoing[stream] = body
        self.padding = padding
        return stream

    def _push(self, stream):
        """As much of a request as the windows allow."""
        body, pad = self.outgoing.pop(stream), self.padding
        cost = pad + 1 if pad else 0
        while body:
            room = min(self.client.local_flow_control_window(stream), self.client.max_outbound_frame_size) - cost
            if room <= 0:
                break
            self.client.send_data(stream, body[:room], pad_length=pad or None)
            body = body[room:]
        if body:
            self.outgoing[stream] = body
        else:
            self.client.end_stream(stream)

    def run(self, answer):
        """Until neither has more to say."""
        while True:
            for stream in list(self.outgoing):
                self._push(stream)
            there = self.client.data_to_send()
            for at in range(0, len(there), self.piece):
                for event in self.server.receive(there[at : at + self.piece]):
                    self._came(event, answer)
            back = self.server.take()[0]
            for at in range(0, len(back), self.piece):
                for event in self.client.receive_data(back[at : at + self.piece]):
                    self._answered(event)
            if not there and not back:
                return

    def _came(self, event, answer):
        if isinstance(event, events.RequestCame):
            self.came[event.stream] = b""
        if isinstance(event, events.DataCame):
            self.came[event.stream] += event.data
            self.server.consumed(event.stream, len(event.data))
        if event.ended:
            self.server.send_headers(event.stream, STATUS_200)
            body = answer(self.came[event.stream])
            if body:
                self.server.send_data(event.stream, body)
            self.server.end(event.stream, LAST)

    def _answered(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.answers[event.stream_id] = b""
        if isinstance(event, h2.events.DataReceived):
            self.answers[event.stream_id] += event.data
            self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if isinstance(event, h2.events.TrailersReceived):
            self.trailers[event.stream_id] = event.headers
        if isinstance(event, h2.events.StreamReset):
            self.reset[event.stream_id] = event.error_code


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=6),
    piece=st.sampled_from([7_001, 65_536]),
    padding=st.sampled_from([0, 1, 255]),
    changes=st.fixed_dictionaries(
        {
            "INITIAL_WINDOW_SIZE": st.sampled_from([1_000, 65_535, 1 << 20]),
            "MAX_FRAME_SIZE": st.sampled_from([1 << 14, 50_000, (1 << 24) - 1]),
            "HEADER_TABLE_SIZE": st.sampled_from([0, 4096, 65_536]),
        }
    ),
)
def test_requests_and_answers_arrive_byte_for_byte(bodies, piece, padding, changes):
    both = Both(piece, **changes)
    said = [both.call(f"/{n}", bytes([n]) * there, padding) for n, (there, _) in enumerate(bodies)]
    both.run(lambda body: body[:1] * bodies[body[0]][1] if body else b"")
    for n, (there, back) in enumerate(bodies):
        assert both.came[said[n]] == bytes([n]) * there
        assert both.answers[said[n]] == (bytes([n]) * back if there else b"")
        assert both.trailers[said[n]] == [(b"grpc-status", b"0")]
    assert not both.server._streams


def test_it_goes_on_while_the_client_changes_its_window():
    both = Both(65_536, INITIAL_WINDOW_SIZE=1_000)
    both.call("/", b"x", 0)
    windows = (0, 70_000, 500, 100_000)

    def answer(body):
        return body * 200_000

    both.run(answer)
    for window in windows:
        both.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        both.run(answer)
    assert both.answers[1] == b"x" * 200_000


def test_the_client_understands_resets_and_farewells():
    both = Both(65_536)
    for _ in range(2):
        both.call("/", b"x", 0)

    def answer(_):
        both.server.reset(1, Code.CANCEL)
        return b"y" * 1_000_000

    both.run(answer)
    assert both.reset == {1: Code.CANCEL}
    assert both.answers[3] == b"y" * 1_000_000
    both.server.go_away()
    seen = both.client.receive_data(both.server.take()[0])
    assert [event.error_code for event in seen] == [0]
