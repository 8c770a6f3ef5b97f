from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    unknown_status: _ClassVar[JobStatus]
    succeeded: _ClassVar[JobStatus]
    failed: _ClassVar[JobStatus]

class PeerCapability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PeerCapabilityUnknown: _ClassVar[PeerCapability]
    PeerCapabilitySourcePrefixes: _ClassVar[PeerCapability]
    PeerCapabilityIPv6Overlay: _ClassVar[PeerCapability]
    PeerCapabilityComponentNetworkMap: _ClassVar[PeerCapability]

class RuleProtocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[RuleProtocol]
    ALL: _ClassVar[RuleProtocol]
    TCP: _ClassVar[RuleProtocol]
    UDP: _ClassVar[RuleProtocol]
    ICMP: _ClassVar[RuleProtocol]
    CUSTOM: _ClassVar[RuleProtocol]
    NETBIRD_SSH: _ClassVar[RuleProtocol]

class RuleDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IN: _ClassVar[RuleDirection]
    OUT: _ClassVar[RuleDirection]

class RuleAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCEPT: _ClassVar[RuleAction]
    DROP: _ClassVar[RuleAction]

class ExposeProtocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPOSE_HTTP: _ClassVar[ExposeProtocol]
    EXPOSE_HTTPS: _ClassVar[ExposeProtocol]
    EXPOSE_TCP: _ClassVar[ExposeProtocol]
    EXPOSE_UDP: _ClassVar[ExposeProtocol]
    EXPOSE_TLS: _ClassVar[ExposeProtocol]
unknown_status: JobStatus
succeeded: JobStatus
failed: JobStatus
PeerCapabilityUnknown: PeerCapability
PeerCapabilitySourcePrefixes: PeerCapability
PeerCapabilityIPv6Overlay: PeerCapability
PeerCapabilityComponentNetworkMap: PeerCapability
UNKNOWN: RuleProtocol
ALL: RuleProtocol
TCP: RuleProtocol
UDP: RuleProtocol
ICMP: RuleProtocol
CUSTOM: RuleProtocol
NETBIRD_SSH: RuleProtocol
IN: RuleDirection
OUT: RuleDirection
ACCEPT: RuleAction
DROP: RuleAction
EXPOSE_HTTP: ExposeProtocol
EXPOSE_HTTPS: ExposeProtocol
EXPOSE_TCP: ExposeProtocol
EXPOSE_UDP: ExposeProtocol
EXPOSE_TLS: ExposeProtocol

class EncryptedMessage(_message.Message):
    __slots__ = ("wgPubKey", "body", "version")
    WGPUBKEY_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    wgPubKey: str
    body: bytes
    version: int
    def __init__(self, wgPubKey: _Optional[str] = ..., body: _Optional[bytes] = ..., version: _Optional[int] = ...) -> None: ...

class JobRequest(_message.Message):
    __slots__ = ("ID", "bundle", "proof")
    ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    ID: bytes
    bundle: BundleParameters
    proof: RequestProof
    def __init__(self, ID: _Optional[bytes] = ..., bundle: _Optional[_Union[BundleParameters, _Mapping]] = ..., proof: _Optional[_Union[RequestProof, _Mapping]] = ...) -> None: ...

class JobResponse(_message.Message):
    __slots__ = ("ID", "status", "Reason", "bundle")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    ID: bytes
    status: JobStatus
    Reason: bytes
    bundle: BundleResult
    def __init__(self, ID: _Optional[bytes] = ..., status: _Optional[_Union[JobStatus, str]] = ..., Reason: _Optional[bytes] = ..., bundle: _Optional[_Union[BundleResult, _Mapping]] = ...) -> None: ...

class BundleParameters(_message.Message):
    __slots__ = ("bundle_for", "bundle_for_time", "log_file_count", "anonymize", "anonymize_level")
    BUNDLE_FOR_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FOR_TIME_FIELD_NUMBER: _ClassVar[int]
    LOG_FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ANONYMIZE_FIELD_NUMBER: _ClassVar[int]
    ANONYMIZE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    bundle_for: bool
    bundle_for_time: int
    log_file_count: int
    anonymize: bool
    anonymize_level: str
    def __init__(self, bundle_for: bool = ..., bundle_for_time: _Optional[int] = ..., log_file_count: _Optional[int] = ..., anonymize: bool = ..., anonymize_level: _Optional[str] = ...) -> None: ...

class BundleResult(_message.Message):
    __slots__ = ("upload_key",)
    UPLOAD_KEY_FIELD_NUMBER: _ClassVar[int]
    upload_key: str
    def __init__(self, upload_key: _Optional[str] = ...) -> None: ...

class SyncRequest(_message.Message):
    __slots__ = ("meta", "proof")
    META_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    meta: PeerSystemMeta
    proof: RequestProof
    def __init__(self, meta: _Optional[_Union[PeerSystemMeta, _Mapping]] = ..., proof: _Optional[_Union[RequestProof, _Mapping]] = ...) -> None: ...

class SyncResponse(_message.Message):
    __slots__ = ("netbirdConfig", "peerConfig", "remotePeers", "remotePeersIsEmpty", "NetworkMap", "Checks", "sessionExpiresAt", "NetworkMapEnvelope", "Version", "proof")
    NETBIRDCONFIG_FIELD_NUMBER: _ClassVar[int]
    PEERCONFIG_FIELD_NUMBER: _ClassVar[int]
    REMOTEPEERS_FIELD_NUMBER: _ClassVar[int]
    REMOTEPEERSISEMPTY_FIELD_NUMBER: _ClassVar[int]
    NETWORKMAP_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    SESSIONEXPIRESAT_FIELD_NUMBER: _ClassVar[int]
    NETWORKMAPENVELOPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    netbirdConfig: NetbirdConfig
    peerConfig: PeerConfig
    remotePeers: _containers.RepeatedCompositeFieldContainer[RemotePeerConfig]
    remotePeersIsEmpty: bool
    NetworkMap: NetworkMap
    Checks: _containers.RepeatedCompositeFieldContainer[Checks]
    sessionExpiresAt: _timestamp_pb2.Timestamp
    NetworkMapEnvelope: NetworkMapEnvelope
    Version: int
    proof: AnswerProof
    def __init__(self, netbirdConfig: _Optional[_Union[NetbirdConfig, _Mapping]] = ..., peerConfig: _Optional[_Union[PeerConfig, _Mapping]] = ..., remotePeers: _Optional[_Iterable[_Union[RemotePeerConfig, _Mapping]]] = ..., remotePeersIsEmpty: bool = ..., NetworkMap: _Optional[_Union[NetworkMap, _Mapping]] = ..., Checks: _Optional[_Iterable[_Union[Checks, _Mapping]]] = ..., sessionExpiresAt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., NetworkMapEnvelope: _Optional[_Union[NetworkMapEnvelope, _Mapping]] = ..., Version: _Optional[int] = ..., proof: _Optional[_Union[AnswerProof, _Mapping]] = ...) -> None: ...

class SyncMetaRequest(_message.Message):
    __slots__ = ("meta", "proof")
    META_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    meta: PeerSystemMeta
    proof: RequestProof
    def __init__(self, meta: _Optional[_Union[PeerSystemMeta, _Mapping]] = ..., proof: _Optional[_Union[RequestProof, _Mapping]] = ...) -> None: ...

class LoginRequest(_message.Message):
    __slots__ = ("setupKey", "meta", "jwtToken", "peerKeys", "dnsLabels", "proof")
    SETUPKEY_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    JWTTOKEN_FIELD_NUMBER: _ClassVar[int]
    PEERKEYS_FIELD_NUMBER: _ClassVar[int]
    DNSLABELS_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    setupKey: str
    meta: PeerSystemMeta
    jwtToken: str
    peerKeys: PeerKeys
    dnsLabels: _containers.RepeatedScalarFieldContainer[str]
    proof: RequestProof
    def __init__(self, setupKey: _Optional[str] = ..., meta: _Optional[_Union[PeerSystemMeta, _Mapping]] = ..., jwtToken: _Optional[str] = ..., peerKeys: _Optional[_Union[PeerKeys, _Mapping]] = ..., dnsLabels: _Optional[_Iterable[str]] = ..., proof: _Optional[_Union[RequestProof, _Mapping]] = ...) -> None: ...

class PeerKeys(_message.Message):
    __slots__ = ("sshPubKey", "wgPubKey")
    SSHPUBKEY_FIELD_NUMBER: _ClassVar[int]
    WGPUBKEY_FIELD_NUMBER: _ClassVar[int]
    sshPubKey: bytes
    wgPubKey: bytes
    def __init__(self, sshPubKey: _Optional[bytes] = ..., wgPubKey: _Optional[bytes] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("cloud", "platform")
    CLOUD_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    cloud: str
    platform: str
    def __init__(self, cloud: _Optional[str] = ..., platform: _Optional[str] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("path", "exist", "processIsRunning")
    PATH_FIELD_NUMBER: _ClassVar[int]
    EXIST_FIELD_NUMBER: _ClassVar[int]
    PROCESSISRUNNING_FIELD_NUMBER: _ClassVar[int]
    path: str
    exist: bool
    processIsRunning: bool
    def __init__(self, path: _Optional[str] = ..., exist: bool = ..., processIsRunning: bool = ...) -> None: ...

class Flags(_message.Message):
    __slots__ = ("rosenpassEnabled", "rosenpassPermissive", "serverSSHAllowed", "disableClientRoutes", "disableServerRoutes", "disableDNS", "disableFirewall", "blockLANAccess", "blockInbound", "lazyConnectionEnabled", "enableSSHRoot", "enableSSHSFTP", "enableSSHLocalPortForwarding", "enableSSHRemotePortForwarding", "disableSSHAuth", "disableIPv6")
    ROSENPASSENABLED_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSPERMISSIVE_FIELD_NUMBER: _ClassVar[int]
    SERVERSSHALLOWED_FIELD_NUMBER: _ClassVar[int]
    DISABLECLIENTROUTES_FIELD_NUMBER: _ClassVar[int]
    DISABLESERVERROUTES_FIELD_NUMBER: _ClassVar[int]
    DISABLEDNS_FIELD_NUMBER: _ClassVar[int]
    DISABLEFIREWALL_FIELD_NUMBER: _ClassVar[int]
    BLOCKLANACCESS_FIELD_NUMBER: _ClassVar[int]
    BLOCKINBOUND_FIELD_NUMBER: _ClassVar[int]
    LAZYCONNECTIONENABLED_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHROOT_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHSFTP_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHLOCALPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHREMOTEPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    DISABLESSHAUTH_FIELD_NUMBER: _ClassVar[int]
    DISABLEIPV6_FIELD_NUMBER: _ClassVar[int]
    rosenpassEnabled: bool
    rosenpassPermissive: bool
    serverSSHAllowed: bool
    disableClientRoutes: bool
    disableServerRoutes: bool
    disableDNS: bool
    disableFirewall: bool
    blockLANAccess: bool
    blockInbound: bool
    lazyConnectionEnabled: bool
    enableSSHRoot: bool
    enableSSHSFTP: bool
    enableSSHLocalPortForwarding: bool
    enableSSHRemotePortForwarding: bool
    disableSSHAuth: bool
    disableIPv6: bool
    def __init__(self, rosenpassEnabled: bool = ..., rosenpassPermissive: bool = ..., serverSSHAllowed: bool = ..., disableClientRoutes: bool = ..., disableServerRoutes: bool = ..., disableDNS: bool = ..., disableFirewall: bool = ..., blockLANAccess: bool = ..., blockInbound: bool = ..., lazyConnectionEnabled: bool = ..., enableSSHRoot: bool = ..., enableSSHSFTP: bool = ..., enableSSHLocalPortForwarding: bool = ..., enableSSHRemotePortForwarding: bool = ..., disableSSHAuth: bool = ..., disableIPv6: bool = ...) -> None: ...

class PeerSystemMeta(_message.Message):
    __slots__ = ("hostname", "goOS", "kernel", "core", "platform", "OS", "netbirdVersion", "uiVersion", "kernelVersion", "OSVersion", "networkAddresses", "sysSerialNumber", "sysProductName", "sysManufacturer", "environment", "files", "flags", "capabilities", "syncMessageVersion")
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    GOOS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    CORE_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    NETBIRDVERSION_FIELD_NUMBER: _ClassVar[int]
    UIVERSION_FIELD_NUMBER: _ClassVar[int]
    KERNELVERSION_FIELD_NUMBER: _ClassVar[int]
    OSVERSION_FIELD_NUMBER: _ClassVar[int]
    NETWORKADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SYSSERIALNUMBER_FIELD_NUMBER: _ClassVar[int]
    SYSPRODUCTNAME_FIELD_NUMBER: _ClassVar[int]
    SYSMANUFACTURER_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SYNCMESSAGEVERSION_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    goOS: str
    kernel: str
    core: str
    platform: str
    OS: str
    netbirdVersion: str
    uiVersion: str
    kernelVersion: str
    OSVersion: str
    networkAddresses: _containers.RepeatedCompositeFieldContainer[NetworkAddress]
    sysSerialNumber: str
    sysProductName: str
    sysManufacturer: str
    environment: Environment
    files: _containers.RepeatedCompositeFieldContainer[File]
    flags: Flags
    capabilities: _containers.RepeatedScalarFieldContainer[PeerCapability]
    syncMessageVersion: int
    def __init__(self, hostname: _Optional[str] = ..., goOS: _Optional[str] = ..., kernel: _Optional[str] = ..., core: _Optional[str] = ..., platform: _Optional[str] = ..., OS: _Optional[str] = ..., netbirdVersion: _Optional[str] = ..., uiVersion: _Optional[str] = ..., kernelVersion: _Optional[str] = ..., OSVersion: _Optional[str] = ..., networkAddresses: _Optional[_Iterable[_Union[NetworkAddress, _Mapping]]] = ..., sysSerialNumber: _Optional[str] = ..., sysProductName: _Optional[str] = ..., sysManufacturer: _Optional[str] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., flags: _Optional[_Union[Flags, _Mapping]] = ..., capabilities: _Optional[_Iterable[_Union[PeerCapability, str]]] = ..., syncMessageVersion: _Optional[int] = ...) -> None: ...

class LoginResponse(_message.Message):
    __slots__ = ("netbirdConfig", "peerConfig", "Checks", "sessionExpiresAt", "proof")
    NETBIRDCONFIG_FIELD_NUMBER: _ClassVar[int]
    PEERCONFIG_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    SESSIONEXPIRESAT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    netbirdConfig: NetbirdConfig
    peerConfig: PeerConfig
    Checks: _containers.RepeatedCompositeFieldContainer[Checks]
    sessionExpiresAt: _timestamp_pb2.Timestamp
    proof: AnswerProof
    def __init__(self, netbirdConfig: _Optional[_Union[NetbirdConfig, _Mapping]] = ..., peerConfig: _Optional[_Union[PeerConfig, _Mapping]] = ..., Checks: _Optional[_Iterable[_Union[Checks, _Mapping]]] = ..., sessionExpiresAt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., proof: _Optional[_Union[AnswerProof, _Mapping]] = ...) -> None: ...

class ExtendAuthSessionRequest(_message.Message):
    __slots__ = ("jwtToken", "meta")
    JWTTOKEN_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    jwtToken: str
    meta: PeerSystemMeta
    def __init__(self, jwtToken: _Optional[str] = ..., meta: _Optional[_Union[PeerSystemMeta, _Mapping]] = ...) -> None: ...

class ExtendAuthSessionResponse(_message.Message):
    __slots__ = ("sessionExpiresAt",)
    SESSIONEXPIRESAT_FIELD_NUMBER: _ClassVar[int]
    sessionExpiresAt: _timestamp_pb2.Timestamp
    def __init__(self, sessionExpiresAt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ServerKeyResponse(_message.Message):
    __slots__ = ("key", "expiresAt", "version", "challenge")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPIRESAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    key: str
    expiresAt: _timestamp_pb2.Timestamp
    version: int
    challenge: bytes
    def __init__(self, key: _Optional[str] = ..., expiresAt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., challenge: _Optional[bytes] = ...) -> None: ...

class Empty(_message.Message):
    __slots__ = ("proof", "answer")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    proof: RequestProof
    answer: EncryptedMessage
    def __init__(self, proof: _Optional[_Union[RequestProof, _Mapping]] = ..., answer: _Optional[_Union[EncryptedMessage, _Mapping]] = ...) -> None: ...

class LogoutResponse(_message.Message):
    __slots__ = ("proof",)
    PROOF_FIELD_NUMBER: _ClassVar[int]
    proof: AnswerProof
    def __init__(self, proof: _Optional[_Union[AnswerProof, _Mapping]] = ...) -> None: ...

class AbsenceRequest(_message.Message):
    __slots__ = ("proof",)
    PROOF_FIELD_NUMBER: _ClassVar[int]
    proof: RequestProof
    def __init__(self, proof: _Optional[_Union[RequestProof, _Mapping]] = ...) -> None: ...

class Absence(_message.Message):
    __slots__ = ("key", "seconds")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    seconds: int
    def __init__(self, key: _Optional[bytes] = ..., seconds: _Optional[int] = ...) -> None: ...

class AbsenceResponse(_message.Message):
    __slots__ = ("peers", "proof")
    PEERS_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[Absence]
    proof: AnswerProof
    def __init__(self, peers: _Optional[_Iterable[_Union[Absence, _Mapping]]] = ..., proof: _Optional[_Union[AnswerProof, _Mapping]] = ...) -> None: ...

class RequestProof(_message.Message):
    __slots__ = ("challenge", "nonce", "method")
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    challenge: bytes
    nonce: bytes
    method: str
    def __init__(self, challenge: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., method: _Optional[str] = ...) -> None: ...

class AnswerProof(_message.Message):
    __slots__ = ("nonce", "method", "number")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    method: str
    number: int
    def __init__(self, nonce: _Optional[bytes] = ..., method: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class NetbirdConfig(_message.Message):
    __slots__ = ("stuns", "turns", "signal", "relay", "flow", "metrics")
    STUNS_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    stuns: _containers.RepeatedCompositeFieldContainer[HostConfig]
    turns: _containers.RepeatedCompositeFieldContainer[ProtectedHostConfig]
    signal: HostConfig
    relay: RelayConfig
    flow: FlowConfig
    metrics: MetricsConfig
    def __init__(self, stuns: _Optional[_Iterable[_Union[HostConfig, _Mapping]]] = ..., turns: _Optional[_Iterable[_Union[ProtectedHostConfig, _Mapping]]] = ..., signal: _Optional[_Union[HostConfig, _Mapping]] = ..., relay: _Optional[_Union[RelayConfig, _Mapping]] = ..., flow: _Optional[_Union[FlowConfig, _Mapping]] = ..., metrics: _Optional[_Union[MetricsConfig, _Mapping]] = ...) -> None: ...

class HostConfig(_message.Message):
    __slots__ = ("uri", "protocol")
    class Protocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UDP: _ClassVar[HostConfig.Protocol]
        TCP: _ClassVar[HostConfig.Protocol]
        HTTP: _ClassVar[HostConfig.Protocol]
        HTTPS: _ClassVar[HostConfig.Protocol]
        DTLS: _ClassVar[HostConfig.Protocol]
    UDP: HostConfig.Protocol
    TCP: HostConfig.Protocol
    HTTP: HostConfig.Protocol
    HTTPS: HostConfig.Protocol
    DTLS: HostConfig.Protocol
    URI_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    uri: str
    protocol: HostConfig.Protocol
    def __init__(self, uri: _Optional[str] = ..., protocol: _Optional[_Union[HostConfig.Protocol, str]] = ...) -> None: ...

class RelayConfig(_message.Message):
    __slots__ = ("urls", "tokenPayload", "tokenSignature", "named")
    URLS_FIELD_NUMBER: _ClassVar[int]
    TOKENPAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TOKENSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    urls: _containers.RepeatedScalarFieldContainer[str]
    tokenPayload: str
    tokenSignature: str
    named: NamedToken
    def __init__(self, urls: _Optional[_Iterable[str]] = ..., tokenPayload: _Optional[str] = ..., tokenSignature: _Optional[str] = ..., named: _Optional[_Union[NamedToken, _Mapping]] = ...) -> None: ...

class NamedToken(_message.Message):
    __slots__ = ("payload", "signature", "urls")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    payload: str
    signature: str
    urls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, payload: _Optional[str] = ..., signature: _Optional[str] = ..., urls: _Optional[_Iterable[str]] = ...) -> None: ...

class FlowConfig(_message.Message):
    __slots__ = ("url", "tokenPayload", "tokenSignature", "interval", "enabled", "counters", "exitNodeCollection", "dnsCollection")
    URL_FIELD_NUMBER: _ClassVar[int]
    TOKENPAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TOKENSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    EXITNODECOLLECTION_FIELD_NUMBER: _ClassVar[int]
    DNSCOLLECTION_FIELD_NUMBER: _ClassVar[int]
    url: str
    tokenPayload: str
    tokenSignature: str
    interval: _duration_pb2.Duration
    enabled: bool
    counters: bool
    exitNodeCollection: bool
    dnsCollection: bool
    def __init__(self, url: _Optional[str] = ..., tokenPayload: _Optional[str] = ..., tokenSignature: _Optional[str] = ..., interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., enabled: bool = ..., counters: bool = ..., exitNodeCollection: bool = ..., dnsCollection: bool = ...) -> None: ...

class MetricsConfig(_message.Message):
    __slots__ = ("enabled",)
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    def __init__(self, enabled: bool = ...) -> None: ...

class JWTConfig(_message.Message):
    __slots__ = ("issuer", "audience", "keysLocation", "maxTokenAge", "audiences")
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    KEYSLOCATION_FIELD_NUMBER: _ClassVar[int]
    MAXTOKENAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIENCES_FIELD_NUMBER: _ClassVar[int]
    issuer: str
    audience: str
    keysLocation: str
    maxTokenAge: int
    audiences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, issuer: _Optional[str] = ..., audience: _Optional[str] = ..., keysLocation: _Optional[str] = ..., maxTokenAge: _Optional[int] = ..., audiences: _Optional[_Iterable[str]] = ...) -> None: ...

class ProtectedHostConfig(_message.Message):
    __slots__ = ("hostConfig", "user", "password")
    HOSTCONFIG_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    hostConfig: HostConfig
    user: str
    password: str
    def __init__(self, hostConfig: _Optional[_Union[HostConfig, _Mapping]] = ..., user: _Optional[str] = ..., password: _Optional[str] = ...) -> None: ...

class PeerConfig(_message.Message):
    __slots__ = ("address", "dns", "sshConfig", "fqdn", "RoutingPeerDnsResolutionEnabled", "LazyConnectionEnabled", "mtu", "autoUpdate", "address_v6")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    SSHCONFIG_FIELD_NUMBER: _ClassVar[int]
    FQDN_FIELD_NUMBER: _ClassVar[int]
    ROUTINGPEERDNSRESOLUTIONENABLED_FIELD_NUMBER: _ClassVar[int]
    LAZYCONNECTIONENABLED_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    AUTOUPDATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_V6_FIELD_NUMBER: _ClassVar[int]
    address: str
    dns: str
    sshConfig: SSHConfig
    fqdn: str
    RoutingPeerDnsResolutionEnabled: bool
    LazyConnectionEnabled: bool
    mtu: int
    autoUpdate: AutoUpdateSettings
    address_v6: bytes
    def __init__(self, address: _Optional[str] = ..., dns: _Optional[str] = ..., sshConfig: _Optional[_Union[SSHConfig, _Mapping]] = ..., fqdn: _Optional[str] = ..., RoutingPeerDnsResolutionEnabled: bool = ..., LazyConnectionEnabled: bool = ..., mtu: _Optional[int] = ..., autoUpdate: _Optional[_Union[AutoUpdateSettings, _Mapping]] = ..., address_v6: _Optional[bytes] = ...) -> None: ...

class AutoUpdateSettings(_message.Message):
    __slots__ = ("version", "alwaysUpdate")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALWAYSUPDATE_FIELD_NUMBER: _ClassVar[int]
    version: str
    alwaysUpdate: bool
    def __init__(self, version: _Optional[str] = ..., alwaysUpdate: bool = ...) -> None: ...

class NetworkMap(_message.Message):
    __slots__ = ("Serial", "peerConfig", "remotePeers", "remotePeersIsEmpty", "Routes", "DNSConfig", "offlinePeers", "FirewallRules", "firewallRulesIsEmpty", "routesFirewallRules", "routesFirewallRulesIsEmpty", "forwardingRules", "sshAuth")
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    PEERCONFIG_FIELD_NUMBER: _ClassVar[int]
    REMOTEPEERS_FIELD_NUMBER: _ClassVar[int]
    REMOTEPEERSISEMPTY_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    DNSCONFIG_FIELD_NUMBER: _ClassVar[int]
    OFFLINEPEERS_FIELD_NUMBER: _ClassVar[int]
    FIREWALLRULES_FIELD_NUMBER: _ClassVar[int]
    FIREWALLRULESISEMPTY_FIELD_NUMBER: _ClassVar[int]
    ROUTESFIREWALLRULES_FIELD_NUMBER: _ClassVar[int]
    ROUTESFIREWALLRULESISEMPTY_FIELD_NUMBER: _ClassVar[int]
    FORWARDINGRULES_FIELD_NUMBER: _ClassVar[int]
    SSHAUTH_FIELD_NUMBER: _ClassVar[int]
    Serial: int
    peerConfig: PeerConfig
    remotePeers: _containers.RepeatedCompositeFieldContainer[RemotePeerConfig]
    remotePeersIsEmpty: bool
    Routes: _containers.RepeatedCompositeFieldContainer[Route]
    DNSConfig: DNSConfig
    offlinePeers: _containers.RepeatedCompositeFieldContainer[RemotePeerConfig]
    FirewallRules: _containers.RepeatedCompositeFieldContainer[FirewallRule]
    firewallRulesIsEmpty: bool
    routesFirewallRules: _containers.RepeatedCompositeFieldContainer[RouteFirewallRule]
    routesFirewallRulesIsEmpty: bool
    forwardingRules: _containers.RepeatedCompositeFieldContainer[ForwardingRule]
    sshAuth: SSHAuth
    def __init__(self, Serial: _Optional[int] = ..., peerConfig: _Optional[_Union[PeerConfig, _Mapping]] = ..., remotePeers: _Optional[_Iterable[_Union[RemotePeerConfig, _Mapping]]] = ..., remotePeersIsEmpty: bool = ..., Routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., DNSConfig: _Optional[_Union[DNSConfig, _Mapping]] = ..., offlinePeers: _Optional[_Iterable[_Union[RemotePeerConfig, _Mapping]]] = ..., FirewallRules: _Optional[_Iterable[_Union[FirewallRule, _Mapping]]] = ..., firewallRulesIsEmpty: bool = ..., routesFirewallRules: _Optional[_Iterable[_Union[RouteFirewallRule, _Mapping]]] = ..., routesFirewallRulesIsEmpty: bool = ..., forwardingRules: _Optional[_Iterable[_Union[ForwardingRule, _Mapping]]] = ..., sshAuth: _Optional[_Union[SSHAuth, _Mapping]] = ...) -> None: ...

class SSHAuth(_message.Message):
    __slots__ = ("UserIDClaim", "AuthorizedUsers", "machine_users")
    class MachineUsersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: MachineUserIndexes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[MachineUserIndexes, _Mapping]] = ...) -> None: ...
    USERIDCLAIM_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZEDUSERS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_USERS_FIELD_NUMBER: _ClassVar[int]
    UserIDClaim: str
    AuthorizedUsers: _containers.RepeatedScalarFieldContainer[bytes]
    machine_users: _containers.MessageMap[str, MachineUserIndexes]
    def __init__(self, UserIDClaim: _Optional[str] = ..., AuthorizedUsers: _Optional[_Iterable[bytes]] = ..., machine_users: _Optional[_Mapping[str, MachineUserIndexes]] = ...) -> None: ...

class MachineUserIndexes(_message.Message):
    __slots__ = ("indexes",)
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, indexes: _Optional[_Iterable[int]] = ...) -> None: ...

class RemotePeerConfig(_message.Message):
    __slots__ = ("wgPubKey", "allowedIps", "sshConfig", "fqdn", "agentVersion")
    WGPUBKEY_FIELD_NUMBER: _ClassVar[int]
    ALLOWEDIPS_FIELD_NUMBER: _ClassVar[int]
    SSHCONFIG_FIELD_NUMBER: _ClassVar[int]
    FQDN_FIELD_NUMBER: _ClassVar[int]
    AGENTVERSION_FIELD_NUMBER: _ClassVar[int]
    wgPubKey: str
    allowedIps: _containers.RepeatedScalarFieldContainer[str]
    sshConfig: SSHConfig
    fqdn: str
    agentVersion: str
    def __init__(self, wgPubKey: _Optional[str] = ..., allowedIps: _Optional[_Iterable[str]] = ..., sshConfig: _Optional[_Union[SSHConfig, _Mapping]] = ..., fqdn: _Optional[str] = ..., agentVersion: _Optional[str] = ...) -> None: ...

class SSHConfig(_message.Message):
    __slots__ = ("sshEnabled", "sshPubKey", "jwtConfig")
    SSHENABLED_FIELD_NUMBER: _ClassVar[int]
    SSHPUBKEY_FIELD_NUMBER: _ClassVar[int]
    JWTCONFIG_FIELD_NUMBER: _ClassVar[int]
    sshEnabled: bool
    sshPubKey: bytes
    jwtConfig: JWTConfig
    def __init__(self, sshEnabled: bool = ..., sshPubKey: _Optional[bytes] = ..., jwtConfig: _Optional[_Union[JWTConfig, _Mapping]] = ...) -> None: ...

class DeviceAuthorizationFlowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeviceAuthorizationFlow(_message.Message):
    __slots__ = ("Provider", "ProviderConfig")
    class provider(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        HOSTED: _ClassVar[DeviceAuthorizationFlow.provider]
    HOSTED: DeviceAuthorizationFlow.provider
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDERCONFIG_FIELD_NUMBER: _ClassVar[int]
    Provider: DeviceAuthorizationFlow.provider
    ProviderConfig: ProviderConfig
    def __init__(self, Provider: _Optional[_Union[DeviceAuthorizationFlow.provider, str]] = ..., ProviderConfig: _Optional[_Union[ProviderConfig, _Mapping]] = ...) -> None: ...

class PKCEAuthorizationFlowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PKCEAuthorizationFlow(_message.Message):
    __slots__ = ("ProviderConfig",)
    PROVIDERCONFIG_FIELD_NUMBER: _ClassVar[int]
    ProviderConfig: ProviderConfig
    def __init__(self, ProviderConfig: _Optional[_Union[ProviderConfig, _Mapping]] = ...) -> None: ...

class ProviderConfig(_message.Message):
    __slots__ = ("ClientID", "ClientSecret", "Domain", "Audience", "DeviceAuthEndpoint", "TokenEndpoint", "Scope", "UseIDToken", "AuthorizationEndpoint", "RedirectURLs", "DisablePromptLogin", "LoginFlag")
    CLIENTID_FIELD_NUMBER: _ClassVar[int]
    CLIENTSECRET_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    DEVICEAUTHENDPOINT_FIELD_NUMBER: _ClassVar[int]
    TOKENENDPOINT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    USEIDTOKEN_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATIONENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REDIRECTURLS_FIELD_NUMBER: _ClassVar[int]
    DISABLEPROMPTLOGIN_FIELD_NUMBER: _ClassVar[int]
    LOGINFLAG_FIELD_NUMBER: _ClassVar[int]
    ClientID: str
    ClientSecret: str
    Domain: str
    Audience: str
    DeviceAuthEndpoint: str
    TokenEndpoint: str
    Scope: str
    UseIDToken: bool
    AuthorizationEndpoint: str
    RedirectURLs: _containers.RepeatedScalarFieldContainer[str]
    DisablePromptLogin: bool
    LoginFlag: int
    def __init__(self, ClientID: _Optional[str] = ..., ClientSecret: _Optional[str] = ..., Domain: _Optional[str] = ..., Audience: _Optional[str] = ..., DeviceAuthEndpoint: _Optional[str] = ..., TokenEndpoint: _Optional[str] = ..., Scope: _Optional[str] = ..., UseIDToken: bool = ..., AuthorizationEndpoint: _Optional[str] = ..., RedirectURLs: _Optional[_Iterable[str]] = ..., DisablePromptLogin: bool = ..., LoginFlag: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("ID", "Network", "NetworkType", "Peer", "Metric", "Masquerade", "NetID", "Domains", "keepRoute", "skipAutoApply")
    ID_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NETWORKTYPE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MASQUERADE_FIELD_NUMBER: _ClassVar[int]
    NETID_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    KEEPROUTE_FIELD_NUMBER: _ClassVar[int]
    SKIPAUTOAPPLY_FIELD_NUMBER: _ClassVar[int]
    ID: str
    Network: str
    NetworkType: int
    Peer: str
    Metric: int
    Masquerade: bool
    NetID: str
    Domains: _containers.RepeatedScalarFieldContainer[str]
    keepRoute: bool
    skipAutoApply: bool
    def __init__(self, ID: _Optional[str] = ..., Network: _Optional[str] = ..., NetworkType: _Optional[int] = ..., Peer: _Optional[str] = ..., Metric: _Optional[int] = ..., Masquerade: bool = ..., NetID: _Optional[str] = ..., Domains: _Optional[_Iterable[str]] = ..., keepRoute: bool = ..., skipAutoApply: bool = ...) -> None: ...

class DNSConfig(_message.Message):
    __slots__ = ("ServiceEnable", "NameServerGroups", "CustomZones", "ForwarderPort")
    SERVICEENABLE_FIELD_NUMBER: _ClassVar[int]
    NAMESERVERGROUPS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMZONES_FIELD_NUMBER: _ClassVar[int]
    FORWARDERPORT_FIELD_NUMBER: _ClassVar[int]
    ServiceEnable: bool
    NameServerGroups: _containers.RepeatedCompositeFieldContainer[NameServerGroup]
    CustomZones: _containers.RepeatedCompositeFieldContainer[CustomZone]
    ForwarderPort: int
    def __init__(self, ServiceEnable: bool = ..., NameServerGroups: _Optional[_Iterable[_Union[NameServerGroup, _Mapping]]] = ..., CustomZones: _Optional[_Iterable[_Union[CustomZone, _Mapping]]] = ..., ForwarderPort: _Optional[int] = ...) -> None: ...

class CustomZone(_message.Message):
    __slots__ = ("Domain", "Records", "SearchDomainDisabled", "NonAuthoritative")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    SEARCHDOMAINDISABLED_FIELD_NUMBER: _ClassVar[int]
    NONAUTHORITATIVE_FIELD_NUMBER: _ClassVar[int]
    Domain: str
    Records: _containers.RepeatedCompositeFieldContainer[SimpleRecord]
    SearchDomainDisabled: bool
    NonAuthoritative: bool
    def __init__(self, Domain: _Optional[str] = ..., Records: _Optional[_Iterable[_Union[SimpleRecord, _Mapping]]] = ..., SearchDomainDisabled: bool = ..., NonAuthoritative: bool = ...) -> None: ...

class SimpleRecord(_message.Message):
    __slots__ = ("Name", "Type", "Class", "TTL", "RData")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    RDATA_FIELD_NUMBER: _ClassVar[int]
    Name: str
    Type: int
    Class: str
    TTL: int
    RData: str
    def __init__(self, Name: _Optional[str] = ..., Type: _Optional[int] = ..., Class: _Optional[str] = ..., TTL: _Optional[int] = ..., RData: _Optional[str] = ...) -> None: ...

class NameServerGroup(_message.Message):
    __slots__ = ("NameServers", "Primary", "Domains", "SearchDomainsEnabled")
    NAMESERVERS_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    SEARCHDOMAINSENABLED_FIELD_NUMBER: _ClassVar[int]
    NameServers: _containers.RepeatedCompositeFieldContainer[NameServer]
    Primary: bool
    Domains: _containers.RepeatedScalarFieldContainer[str]
    SearchDomainsEnabled: bool
    def __init__(self, NameServers: _Optional[_Iterable[_Union[NameServer, _Mapping]]] = ..., Primary: bool = ..., Domains: _Optional[_Iterable[str]] = ..., SearchDomainsEnabled: bool = ...) -> None: ...

class NameServer(_message.Message):
    __slots__ = ("IP", "NSType", "Port")
    IP_FIELD_NUMBER: _ClassVar[int]
    NSTYPE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    IP: str
    NSType: int
    Port: int
    def __init__(self, IP: _Optional[str] = ..., NSType: _Optional[int] = ..., Port: _Optional[int] = ...) -> None: ...

class FirewallRule(_message.Message):
    __slots__ = ("PeerIP", "Direction", "Action", "Protocol", "Port", "PortInfo", "PolicyID", "customProtocol", "sourcePrefixes")
    PEERIP_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PORTINFO_FIELD_NUMBER: _ClassVar[int]
    POLICYID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMPROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOURCEPREFIXES_FIELD_NUMBER: _ClassVar[int]
    PeerIP: str
    Direction: RuleDirection
    Action: RuleAction
    Protocol: RuleProtocol
    Port: str
    PortInfo: PortInfo
    PolicyID: bytes
    customProtocol: int
    sourcePrefixes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, PeerIP: _Optional[str] = ..., Direction: _Optional[_Union[RuleDirection, str]] = ..., Action: _Optional[_Union[RuleAction, str]] = ..., Protocol: _Optional[_Union[RuleProtocol, str]] = ..., Port: _Optional[str] = ..., PortInfo: _Optional[_Union[PortInfo, _Mapping]] = ..., PolicyID: _Optional[bytes] = ..., customProtocol: _Optional[int] = ..., sourcePrefixes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class NetworkAddress(_message.Message):
    __slots__ = ("netIP", "mac")
    NETIP_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    netIP: str
    mac: str
    def __init__(self, netIP: _Optional[str] = ..., mac: _Optional[str] = ...) -> None: ...

class Checks(_message.Message):
    __slots__ = ("Files",)
    FILES_FIELD_NUMBER: _ClassVar[int]
    Files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, Files: _Optional[_Iterable[str]] = ...) -> None: ...

class PortInfo(_message.Message):
    __slots__ = ("port", "range")
    class Range(_message.Message):
        __slots__ = ("start", "end")
        START_FIELD_NUMBER: _ClassVar[int]
        END_FIELD_NUMBER: _ClassVar[int]
        start: int
        end: int
        def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...
    PORT_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    port: int
    range: PortInfo.Range
    def __init__(self, port: _Optional[int] = ..., range: _Optional[_Union[PortInfo.Range, _Mapping]] = ...) -> None: ...

class RouteFirewallRule(_message.Message):
    __slots__ = ("sourceRanges", "action", "destination", "protocol", "portInfo", "isDynamic", "domains", "customProtocol", "PolicyID", "RouteID")
    SOURCERANGES_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PORTINFO_FIELD_NUMBER: _ClassVar[int]
    ISDYNAMIC_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMPROTOCOL_FIELD_NUMBER: _ClassVar[int]
    POLICYID_FIELD_NUMBER: _ClassVar[int]
    ROUTEID_FIELD_NUMBER: _ClassVar[int]
    sourceRanges: _containers.RepeatedScalarFieldContainer[str]
    action: RuleAction
    destination: str
    protocol: RuleProtocol
    portInfo: PortInfo
    isDynamic: bool
    domains: _containers.RepeatedScalarFieldContainer[str]
    customProtocol: int
    PolicyID: bytes
    RouteID: str
    def __init__(self, sourceRanges: _Optional[_Iterable[str]] = ..., action: _Optional[_Union[RuleAction, str]] = ..., destination: _Optional[str] = ..., protocol: _Optional[_Union[RuleProtocol, str]] = ..., portInfo: _Optional[_Union[PortInfo, _Mapping]] = ..., isDynamic: bool = ..., domains: _Optional[_Iterable[str]] = ..., customProtocol: _Optional[int] = ..., PolicyID: _Optional[bytes] = ..., RouteID: _Optional[str] = ...) -> None: ...

class ForwardingRule(_message.Message):
    __slots__ = ("protocol", "destinationPort", "translatedAddress", "translatedPort")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DESTINATIONPORT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATEDADDRESS_FIELD_NUMBER: _ClassVar[int]
    TRANSLATEDPORT_FIELD_NUMBER: _ClassVar[int]
    protocol: RuleProtocol
    destinationPort: PortInfo
    translatedAddress: bytes
    translatedPort: PortInfo
    def __init__(self, protocol: _Optional[_Union[RuleProtocol, str]] = ..., destinationPort: _Optional[_Union[PortInfo, _Mapping]] = ..., translatedAddress: _Optional[bytes] = ..., translatedPort: _Optional[_Union[PortInfo, _Mapping]] = ...) -> None: ...

class ExposeServiceRequest(_message.Message):
    __slots__ = ("port", "protocol", "pin", "password", "user_groups", "domain", "name_prefix", "listen_port")
    PORT_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    USER_GROUPS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    NAME_PREFIX_FIELD_NUMBER: _ClassVar[int]
    LISTEN_PORT_FIELD_NUMBER: _ClassVar[int]
    port: int
    protocol: ExposeProtocol
    pin: str
    password: str
    user_groups: _containers.RepeatedScalarFieldContainer[str]
    domain: str
    name_prefix: str
    listen_port: int
    def __init__(self, port: _Optional[int] = ..., protocol: _Optional[_Union[ExposeProtocol, str]] = ..., pin: _Optional[str] = ..., password: _Optional[str] = ..., user_groups: _Optional[_Iterable[str]] = ..., domain: _Optional[str] = ..., name_prefix: _Optional[str] = ..., listen_port: _Optional[int] = ...) -> None: ...

class ExposeServiceResponse(_message.Message):
    __slots__ = ("service_name", "service_url", "domain", "port_auto_assigned")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_URL_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    PORT_AUTO_ASSIGNED_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    service_url: str
    domain: str
    port_auto_assigned: bool
    def __init__(self, service_name: _Optional[str] = ..., service_url: _Optional[str] = ..., domain: _Optional[str] = ..., port_auto_assigned: bool = ...) -> None: ...

class RenewExposeRequest(_message.Message):
    __slots__ = ("domain",)
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    domain: str
    def __init__(self, domain: _Optional[str] = ...) -> None: ...

class RenewExposeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopExposeRequest(_message.Message):
    __slots__ = ("domain",)
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    domain: str
    def __init__(self, domain: _Optional[str] = ...) -> None: ...

class StopExposeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NetworkMapEnvelope(_message.Message):
    __slots__ = ("full", "delta")
    FULL_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    full: NetworkMapComponentsFull
    delta: NetworkMapComponentsDelta
    def __init__(self, full: _Optional[_Union[NetworkMapComponentsFull, _Mapping]] = ..., delta: _Optional[_Union[NetworkMapComponentsDelta, _Mapping]] = ...) -> None: ...

class NetworkMapComponentsFull(_message.Message):
    __slots__ = ("serial", "peer_config", "network", "account_settings", "dns_settings", "dns_domain", "custom_zone_domain", "agent_versions", "peers", "router_peer_indexes", "policies", "groups", "routes", "nameserver_groups", "all_dns_records", "account_zones", "network_resources", "routers_map", "resource_policies_map", "group_id_to_user_ids", "allowed_user_ids", "posture_failed_peers", "dns_forwarder_port", "proxy_patch", "user_id_claim")
    class RoutersMapEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: NetworkRouterList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[NetworkRouterList, _Mapping]] = ...) -> None: ...
    class ResourcePoliciesMapEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PolicyIds
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PolicyIds, _Mapping]] = ...) -> None: ...
    class GroupIdToUserIdsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: UserIDList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[UserIDList, _Mapping]] = ...) -> None: ...
    class PostureFailedPeersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PeerIndexSet
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PeerIndexSet, _Mapping]] = ...) -> None: ...
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    PEER_CONFIG_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    DNS_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    DNS_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_ZONE_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    ROUTER_PEER_INDEXES_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    NAMESERVER_GROUPS_FIELD_NUMBER: _ClassVar[int]
    ALL_DNS_RECORDS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ZONES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    ROUTERS_MAP_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_POLICIES_MAP_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_TO_USER_IDS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_USER_IDS_FIELD_NUMBER: _ClassVar[int]
    POSTURE_FAILED_PEERS_FIELD_NUMBER: _ClassVar[int]
    DNS_FORWARDER_PORT_FIELD_NUMBER: _ClassVar[int]
    PROXY_PATCH_FIELD_NUMBER: _ClassVar[int]
    USER_ID_CLAIM_FIELD_NUMBER: _ClassVar[int]
    serial: int
    peer_config: PeerConfig
    network: AccountNetwork
    account_settings: AccountSettingsCompact
    dns_settings: DNSSettingsCompact
    dns_domain: str
    custom_zone_domain: str
    agent_versions: _containers.RepeatedScalarFieldContainer[str]
    peers: _containers.RepeatedCompositeFieldContainer[PeerCompact]
    router_peer_indexes: _containers.RepeatedScalarFieldContainer[int]
    policies: _containers.RepeatedCompositeFieldContainer[PolicyCompact]
    groups: _containers.RepeatedCompositeFieldContainer[GroupCompact]
    routes: _containers.RepeatedCompositeFieldContainer[RouteRaw]
    nameserver_groups: _containers.RepeatedCompositeFieldContainer[NameServerGroupRaw]
    all_dns_records: _containers.RepeatedCompositeFieldContainer[SimpleRecord]
    account_zones: _containers.RepeatedCompositeFieldContainer[CustomZone]
    network_resources: _containers.RepeatedCompositeFieldContainer[NetworkResourceRaw]
    routers_map: _containers.MessageMap[str, NetworkRouterList]
    resource_policies_map: _containers.MessageMap[str, PolicyIds]
    group_id_to_user_ids: _containers.MessageMap[str, UserIDList]
    allowed_user_ids: _containers.RepeatedScalarFieldContainer[str]
    posture_failed_peers: _containers.MessageMap[str, PeerIndexSet]
    dns_forwarder_port: int
    proxy_patch: ProxyPatch
    user_id_claim: str
    def __init__(self, serial: _Optional[int] = ..., peer_config: _Optional[_Union[PeerConfig, _Mapping]] = ..., network: _Optional[_Union[AccountNetwork, _Mapping]] = ..., account_settings: _Optional[_Union[AccountSettingsCompact, _Mapping]] = ..., dns_settings: _Optional[_Union[DNSSettingsCompact, _Mapping]] = ..., dns_domain: _Optional[str] = ..., custom_zone_domain: _Optional[str] = ..., agent_versions: _Optional[_Iterable[str]] = ..., peers: _Optional[_Iterable[_Union[PeerCompact, _Mapping]]] = ..., router_peer_indexes: _Optional[_Iterable[int]] = ..., policies: _Optional[_Iterable[_Union[PolicyCompact, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[GroupCompact, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[RouteRaw, _Mapping]]] = ..., nameserver_groups: _Optional[_Iterable[_Union[NameServerGroupRaw, _Mapping]]] = ..., all_dns_records: _Optional[_Iterable[_Union[SimpleRecord, _Mapping]]] = ..., account_zones: _Optional[_Iterable[_Union[CustomZone, _Mapping]]] = ..., network_resources: _Optional[_Iterable[_Union[NetworkResourceRaw, _Mapping]]] = ..., routers_map: _Optional[_Mapping[str, NetworkRouterList]] = ..., resource_policies_map: _Optional[_Mapping[str, PolicyIds]] = ..., group_id_to_user_ids: _Optional[_Mapping[str, UserIDList]] = ..., allowed_user_ids: _Optional[_Iterable[str]] = ..., posture_failed_peers: _Optional[_Mapping[str, PeerIndexSet]] = ..., dns_forwarder_port: _Optional[int] = ..., proxy_patch: _Optional[_Union[ProxyPatch, _Mapping]] = ..., user_id_claim: _Optional[str] = ...) -> None: ...

class ProxyPatch(_message.Message):
    __slots__ = ("peers", "offline_peers", "firewall_rules", "routes", "route_firewall_rules", "forwarding_rules")
    PEERS_FIELD_NUMBER: _ClassVar[int]
    OFFLINE_PEERS_FIELD_NUMBER: _ClassVar[int]
    FIREWALL_RULES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIREWALL_RULES_FIELD_NUMBER: _ClassVar[int]
    FORWARDING_RULES_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[RemotePeerConfig]
    offline_peers: _containers.RepeatedCompositeFieldContainer[RemotePeerConfig]
    firewall_rules: _containers.RepeatedCompositeFieldContainer[FirewallRule]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    route_firewall_rules: _containers.RepeatedCompositeFieldContainer[RouteFirewallRule]
    forwarding_rules: _containers.RepeatedCompositeFieldContainer[ForwardingRule]
    def __init__(self, peers: _Optional[_Iterable[_Union[RemotePeerConfig, _Mapping]]] = ..., offline_peers: _Optional[_Iterable[_Union[RemotePeerConfig, _Mapping]]] = ..., firewall_rules: _Optional[_Iterable[_Union[FirewallRule, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., route_firewall_rules: _Optional[_Iterable[_Union[RouteFirewallRule, _Mapping]]] = ..., forwarding_rules: _Optional[_Iterable[_Union[ForwardingRule, _Mapping]]] = ...) -> None: ...

class AccountSettingsCompact(_message.Message):
    __slots__ = ("peer_login_expiration_enabled", "peer_login_expiration_ns")
    PEER_LOGIN_EXPIRATION_ENABLED_FIELD_NUMBER: _ClassVar[int]
    PEER_LOGIN_EXPIRATION_NS_FIELD_NUMBER: _ClassVar[int]
    peer_login_expiration_enabled: bool
    peer_login_expiration_ns: int
    def __init__(self, peer_login_expiration_enabled: bool = ..., peer_login_expiration_ns: _Optional[int] = ...) -> None: ...

class AccountNetwork(_message.Message):
    __slots__ = ("identifier", "net_cidr", "net_v6_cidr", "dns", "serial")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    NET_CIDR_FIELD_NUMBER: _ClassVar[int]
    NET_V6_CIDR_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    net_cidr: str
    net_v6_cidr: str
    dns: str
    serial: int
    def __init__(self, identifier: _Optional[str] = ..., net_cidr: _Optional[str] = ..., net_v6_cidr: _Optional[str] = ..., dns: _Optional[str] = ..., serial: _Optional[int] = ...) -> None: ...

class NetworkMapComponentsDelta(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PeerCompact(_message.Message):
    __slots__ = ("wg_pub_key", "ip", "ipv6", "ssh_pub_key", "dns_label", "agent_version", "added_with_sso_login", "login_expiration_enabled", "last_login_unix_nano", "ssh_enabled", "supports_ipv6", "supports_source_prefixes", "server_ssh_allowed")
    WG_PUB_KEY_FIELD_NUMBER: _ClassVar[int]
    IP_FIELD_NUMBER: _ClassVar[int]
    IPV6_FIELD_NUMBER: _ClassVar[int]
    SSH_PUB_KEY_FIELD_NUMBER: _ClassVar[int]
    DNS_LABEL_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDED_WITH_SSO_LOGIN_FIELD_NUMBER: _ClassVar[int]
    LOGIN_EXPIRATION_ENABLED_FIELD_NUMBER: _ClassVar[int]
    LAST_LOGIN_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    SSH_ENABLED_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_IPV6_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_SOURCE_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    SERVER_SSH_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    wg_pub_key: bytes
    ip: bytes
    ipv6: bytes
    ssh_pub_key: bytes
    dns_label: str
    agent_version: str
    added_with_sso_login: bool
    login_expiration_enabled: bool
    last_login_unix_nano: int
    ssh_enabled: bool
    supports_ipv6: bool
    supports_source_prefixes: bool
    server_ssh_allowed: bool
    def __init__(self, wg_pub_key: _Optional[bytes] = ..., ip: _Optional[bytes] = ..., ipv6: _Optional[bytes] = ..., ssh_pub_key: _Optional[bytes] = ..., dns_label: _Optional[str] = ..., agent_version: _Optional[str] = ..., added_with_sso_login: bool = ..., login_expiration_enabled: bool = ..., last_login_unix_nano: _Optional[int] = ..., ssh_enabled: bool = ..., supports_ipv6: bool = ..., supports_source_prefixes: bool = ..., server_ssh_allowed: bool = ...) -> None: ...

class PolicyCompact(_message.Message):
    __slots__ = ("id", "action", "protocol", "bidirectional", "ports", "port_ranges", "source_group_ids", "destination_group_ids", "authorized_groups", "authorized_user", "source_resource", "destination_resource", "source_posture_check_ids")
    class AuthorizedGroupsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: UserNameList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[UserNameList, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    BIDIRECTIONAL_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    PORT_RANGES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZED_GROUPS_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZED_USER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_RESOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_RESOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_POSTURE_CHECK_IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    action: RuleAction
    protocol: RuleProtocol
    bidirectional: bool
    ports: _containers.RepeatedScalarFieldContainer[int]
    port_ranges: _containers.RepeatedCompositeFieldContainer[PortInfo.Range]
    source_group_ids: _containers.RepeatedScalarFieldContainer[str]
    destination_group_ids: _containers.RepeatedScalarFieldContainer[str]
    authorized_groups: _containers.MessageMap[str, UserNameList]
    authorized_user: str
    source_resource: ResourceCompact
    destination_resource: ResourceCompact
    source_posture_check_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., action: _Optional[_Union[RuleAction, str]] = ..., protocol: _Optional[_Union[RuleProtocol, str]] = ..., bidirectional: bool = ..., ports: _Optional[_Iterable[int]] = ..., port_ranges: _Optional[_Iterable[_Union[PortInfo.Range, _Mapping]]] = ..., source_group_ids: _Optional[_Iterable[str]] = ..., destination_group_ids: _Optional[_Iterable[str]] = ..., authorized_groups: _Optional[_Mapping[str, UserNameList]] = ..., authorized_user: _Optional[str] = ..., source_resource: _Optional[_Union[ResourceCompact, _Mapping]] = ..., destination_resource: _Optional[_Union[ResourceCompact, _Mapping]] = ..., source_posture_check_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ResourceCompact(_message.Message):
    __slots__ = ("type", "peer_index_set", "peer_index")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PEER_INDEX_SET_FIELD_NUMBER: _ClassVar[int]
    PEER_INDEX_FIELD_NUMBER: _ClassVar[int]
    type: str
    peer_index_set: bool
    peer_index: int
    def __init__(self, type: _Optional[str] = ..., peer_index_set: bool = ..., peer_index: _Optional[int] = ...) -> None: ...

class UserNameList(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class GroupCompact(_message.Message):
    __slots__ = ("id", "peer_indexes", "is_all")
    ID_FIELD_NUMBER: _ClassVar[int]
    PEER_INDEXES_FIELD_NUMBER: _ClassVar[int]
    IS_ALL_FIELD_NUMBER: _ClassVar[int]
    id: str
    peer_indexes: _containers.RepeatedScalarFieldContainer[int]
    is_all: bool
    def __init__(self, id: _Optional[str] = ..., peer_indexes: _Optional[_Iterable[int]] = ..., is_all: bool = ...) -> None: ...

class DNSSettingsCompact(_message.Message):
    __slots__ = ("disabled_management_group_ids",)
    DISABLED_MANAGEMENT_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    disabled_management_group_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, disabled_management_group_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RouteRaw(_message.Message):
    __slots__ = ("id", "net_id", "description", "network_cidr", "domains", "keep_route", "peer_index_set", "peer_index", "peer_group_ids", "network_type", "masquerade", "metric", "enabled", "group_ids", "access_control_group_ids", "skip_auto_apply")
    ID_FIELD_NUMBER: _ClassVar[int]
    NET_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    NETWORK_CIDR_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    KEEP_ROUTE_FIELD_NUMBER: _ClassVar[int]
    PEER_INDEX_SET_FIELD_NUMBER: _ClassVar[int]
    PEER_INDEX_FIELD_NUMBER: _ClassVar[int]
    PEER_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_TYPE_FIELD_NUMBER: _ClassVar[int]
    MASQUERADE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CONTROL_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    SKIP_AUTO_APPLY_FIELD_NUMBER: _ClassVar[int]
    id: str
    net_id: str
    description: str
    network_cidr: str
    domains: _containers.RepeatedScalarFieldContainer[str]
    keep_route: bool
    peer_index_set: bool
    peer_index: int
    peer_group_ids: _containers.RepeatedScalarFieldContainer[str]
    network_type: int
    masquerade: bool
    metric: int
    enabled: bool
    group_ids: _containers.RepeatedScalarFieldContainer[str]
    access_control_group_ids: _containers.RepeatedScalarFieldContainer[str]
    skip_auto_apply: bool
    def __init__(self, id: _Optional[str] = ..., net_id: _Optional[str] = ..., description: _Optional[str] = ..., network_cidr: _Optional[str] = ..., domains: _Optional[_Iterable[str]] = ..., keep_route: bool = ..., peer_index_set: bool = ..., peer_index: _Optional[int] = ..., peer_group_ids: _Optional[_Iterable[str]] = ..., network_type: _Optional[int] = ..., masquerade: bool = ..., metric: _Optional[int] = ..., enabled: bool = ..., group_ids: _Optional[_Iterable[str]] = ..., access_control_group_ids: _Optional[_Iterable[str]] = ..., skip_auto_apply: bool = ...) -> None: ...

class NameServerGroupRaw(_message.Message):
    __slots__ = ("id", "nameservers", "group_ids", "primary", "domains", "enabled", "search_domains_enabled")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESERVERS_FIELD_NUMBER: _ClassVar[int]
    GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    SEARCH_DOMAINS_ENABLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    nameservers: _containers.RepeatedCompositeFieldContainer[NameServer]
    group_ids: _containers.RepeatedScalarFieldContainer[str]
    primary: bool
    domains: _containers.RepeatedScalarFieldContainer[str]
    enabled: bool
    search_domains_enabled: bool
    def __init__(self, id: _Optional[str] = ..., nameservers: _Optional[_Iterable[_Union[NameServer, _Mapping]]] = ..., group_ids: _Optional[_Iterable[str]] = ..., primary: bool = ..., domains: _Optional[_Iterable[str]] = ..., enabled: bool = ..., search_domains_enabled: bool = ...) -> None: ...

class NetworkResourceRaw(_message.Message):
    __slots__ = ("id", "network_seq", "name", "description", "type", "address", "domain_value", "prefix_cidr", "enabled")
    ID_FIELD_NUMBER: _ClassVar[int]
    NETWORK_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_VALUE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CIDR_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    network_seq: str
    name: str
    description: str
    type: str
    address: str
    domain_value: str
    prefix_cidr: str
    enabled: bool
    def __init__(self, id: _Optional[str] = ..., network_seq: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., type: _Optional[str] = ..., address: _Optional[str] = ..., domain_value: _Optional[str] = ..., prefix_cidr: _Optional[str] = ..., enabled: bool = ...) -> None: ...

class NetworkRouterList(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[NetworkRouterEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[NetworkRouterEntry, _Mapping]]] = ...) -> None: ...

class NetworkRouterEntry(_message.Message):
    __slots__ = ("id", "peer_index", "peer_index_set", "peer_group_ids", "masquerade", "metric", "enabled")
    ID_FIELD_NUMBER: _ClassVar[int]
    PEER_INDEX_FIELD_NUMBER: _ClassVar[int]
    PEER_INDEX_SET_FIELD_NUMBER: _ClassVar[int]
    PEER_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    MASQUERADE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    peer_index: int
    peer_index_set: bool
    peer_group_ids: _containers.RepeatedScalarFieldContainer[str]
    masquerade: bool
    metric: int
    enabled: bool
    def __init__(self, id: _Optional[str] = ..., peer_index: _Optional[int] = ..., peer_index_set: bool = ..., peer_group_ids: _Optional[_Iterable[str]] = ..., masquerade: bool = ..., metric: _Optional[int] = ..., enabled: bool = ...) -> None: ...

class PolicyIds(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ...) -> None: ...

class UserIDList(_message.Message):
    __slots__ = ("user_ids",)
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PeerIndexSet(_message.Message):
    __slots__ = ("peer_indexes",)
    PEER_INDEXES_FIELD_NUMBER: _ClassVar[int]
    peer_indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, peer_indexes: _Optional[_Iterable[int]] = ...) -> None: ...
