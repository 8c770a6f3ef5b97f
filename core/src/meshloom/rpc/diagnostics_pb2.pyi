from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PingRequest(_message.Message):
    __slots__ = ("peer", "count", "until_direct", "timeout", "interval")
    PEER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_DIRECT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    peer: str
    count: int
    until_direct: bool
    timeout: _duration_pb2.Duration
    interval: _duration_pb2.Duration
    def __init__(self, peer: _Optional[str] = ..., count: _Optional[int] = ..., until_direct: bool = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PingReply(_message.Message):
    __slots__ = ("fqdn", "address", "sequence", "round_trip", "path", "endpoint", "relay", "transport", "reason")
    class Path(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[PingReply.Path]
        RELAYED: _ClassVar[PingReply.Path]
        DIRECT: _ClassVar[PingReply.Path]
    NONE: PingReply.Path
    RELAYED: PingReply.Path
    DIRECT: PingReply.Path
    FQDN_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    fqdn: str
    address: str
    sequence: int
    round_trip: _duration_pb2.Duration
    path: PingReply.Path
    endpoint: str
    relay: str
    transport: str
    reason: str
    def __init__(self, fqdn: _Optional[str] = ..., address: _Optional[str] = ..., sequence: _Optional[int] = ..., round_trip: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., path: _Optional[_Union[PingReply.Path, str]] = ..., endpoint: _Optional[str] = ..., relay: _Optional[str] = ..., transport: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ServersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ServersResponse(_message.Message):
    __slots__ = ("management_url", "signal_url", "stuns", "relays", "interface", "mtu", "listen_port", "overlay", "state_dir", "version", "extra_roots")
    MANAGEMENT_URL_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_URL_FIELD_NUMBER: _ClassVar[int]
    STUNS_FIELD_NUMBER: _ClassVar[int]
    RELAYS_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    LISTEN_PORT_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_FIELD_NUMBER: _ClassVar[int]
    STATE_DIR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXTRA_ROOTS_FIELD_NUMBER: _ClassVar[int]
    management_url: str
    signal_url: str
    stuns: _containers.RepeatedScalarFieldContainer[str]
    relays: _containers.RepeatedScalarFieldContainer[str]
    interface: str
    mtu: int
    listen_port: int
    overlay: _containers.RepeatedScalarFieldContainer[str]
    state_dir: str
    version: str
    extra_roots: bytes
    def __init__(self, management_url: _Optional[str] = ..., signal_url: _Optional[str] = ..., stuns: _Optional[_Iterable[str]] = ..., relays: _Optional[_Iterable[str]] = ..., interface: _Optional[str] = ..., mtu: _Optional[int] = ..., listen_port: _Optional[int] = ..., overlay: _Optional[_Iterable[str]] = ..., state_dir: _Optional[str] = ..., version: _Optional[str] = ..., extra_roots: _Optional[bytes] = ...) -> None: ...

class BundleRequest(_message.Message):
    __slots__ = ("anonymize", "ask_gateway")
    ANONYMIZE_FIELD_NUMBER: _ClassVar[int]
    ASK_GATEWAY_FIELD_NUMBER: _ClassVar[int]
    anonymize: bool
    ask_gateway: bool
    def __init__(self, anonymize: bool = ..., ask_gateway: bool = ...) -> None: ...

class BundleChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
