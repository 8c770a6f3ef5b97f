from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[LogLevel]
    PANIC: _ClassVar[LogLevel]
    FATAL: _ClassVar[LogLevel]
    ERROR: _ClassVar[LogLevel]
    WARN: _ClassVar[LogLevel]
    INFO: _ClassVar[LogLevel]
    DEBUG: _ClassVar[LogLevel]
    TRACE: _ClassVar[LogLevel]

class ExposeProtocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPOSE_HTTP: _ClassVar[ExposeProtocol]
    EXPOSE_HTTPS: _ClassVar[ExposeProtocol]
    EXPOSE_TCP: _ClassVar[ExposeProtocol]
    EXPOSE_UDP: _ClassVar[ExposeProtocol]
    EXPOSE_TLS: _ClassVar[ExposeProtocol]
UNKNOWN: LogLevel
PANIC: LogLevel
FATAL: LogLevel
ERROR: LogLevel
WARN: LogLevel
INFO: LogLevel
DEBUG: LogLevel
TRACE: LogLevel
EXPOSE_HTTP: ExposeProtocol
EXPOSE_HTTPS: ExposeProtocol
EXPOSE_TCP: ExposeProtocol
EXPOSE_UDP: ExposeProtocol
EXPOSE_TLS: ExposeProtocol

class EmptyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LoginRequest(_message.Message):
    __slots__ = ("setupKey", "preSharedKey", "managementUrl", "adminURL", "natExternalIPs", "cleanNATExternalIPs", "customDNSAddress", "isUnixDesktopClient", "hostname", "rosenpassEnabled", "interfaceName", "wireguardPort", "optionalPreSharedKey", "disableAutoConnect", "serverSSHAllowed", "rosenpassPermissive", "extraIFaceBlacklist", "networkMonitor", "dnsRouteInterval", "disable_client_routes", "disable_server_routes", "disable_dns", "disable_firewall", "block_lan_access", "disable_notifications", "dns_labels", "cleanDNSLabels", "lazyConnectionEnabled", "block_inbound", "profileName", "username", "mtu", "hint", "enableSSHRoot", "enableSSHSFTP", "enableSSHLocalPortForwarding", "enableSSHRemotePortForwarding", "disableSSHAuth", "sshJWTCacheTTL", "disable_ipv6", "force_relay", "no_relay", "home_relays", "relay_transport", "disable_ipv6_discovery", "port_mapping", "accept_server_key")
    SETUPKEY_FIELD_NUMBER: _ClassVar[int]
    PRESHAREDKEY_FIELD_NUMBER: _ClassVar[int]
    MANAGEMENTURL_FIELD_NUMBER: _ClassVar[int]
    ADMINURL_FIELD_NUMBER: _ClassVar[int]
    NATEXTERNALIPS_FIELD_NUMBER: _ClassVar[int]
    CLEANNATEXTERNALIPS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMDNSADDRESS_FIELD_NUMBER: _ClassVar[int]
    ISUNIXDESKTOPCLIENT_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSENABLED_FIELD_NUMBER: _ClassVar[int]
    INTERFACENAME_FIELD_NUMBER: _ClassVar[int]
    WIREGUARDPORT_FIELD_NUMBER: _ClassVar[int]
    OPTIONALPRESHAREDKEY_FIELD_NUMBER: _ClassVar[int]
    DISABLEAUTOCONNECT_FIELD_NUMBER: _ClassVar[int]
    SERVERSSHALLOWED_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSPERMISSIVE_FIELD_NUMBER: _ClassVar[int]
    EXTRAIFACEBLACKLIST_FIELD_NUMBER: _ClassVar[int]
    NETWORKMONITOR_FIELD_NUMBER: _ClassVar[int]
    DNSROUTEINTERVAL_FIELD_NUMBER: _ClassVar[int]
    DISABLE_CLIENT_ROUTES_FIELD_NUMBER: _ClassVar[int]
    DISABLE_SERVER_ROUTES_FIELD_NUMBER: _ClassVar[int]
    DISABLE_DNS_FIELD_NUMBER: _ClassVar[int]
    DISABLE_FIREWALL_FIELD_NUMBER: _ClassVar[int]
    BLOCK_LAN_ACCESS_FIELD_NUMBER: _ClassVar[int]
    DISABLE_NOTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    DNS_LABELS_FIELD_NUMBER: _ClassVar[int]
    CLEANDNSLABELS_FIELD_NUMBER: _ClassVar[int]
    LAZYCONNECTIONENABLED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_INBOUND_FIELD_NUMBER: _ClassVar[int]
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHROOT_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHSFTP_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHLOCALPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHREMOTEPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    DISABLESSHAUTH_FIELD_NUMBER: _ClassVar[int]
    SSHJWTCACHETTL_FIELD_NUMBER: _ClassVar[int]
    DISABLE_IPV6_FIELD_NUMBER: _ClassVar[int]
    FORCE_RELAY_FIELD_NUMBER: _ClassVar[int]
    NO_RELAY_FIELD_NUMBER: _ClassVar[int]
    HOME_RELAYS_FIELD_NUMBER: _ClassVar[int]
    RELAY_TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    DISABLE_IPV6_DISCOVERY_FIELD_NUMBER: _ClassVar[int]
    PORT_MAPPING_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_SERVER_KEY_FIELD_NUMBER: _ClassVar[int]
    setupKey: str
    preSharedKey: str
    managementUrl: str
    adminURL: str
    natExternalIPs: _containers.RepeatedScalarFieldContainer[str]
    cleanNATExternalIPs: bool
    customDNSAddress: bytes
    isUnixDesktopClient: bool
    hostname: str
    rosenpassEnabled: bool
    interfaceName: str
    wireguardPort: int
    optionalPreSharedKey: str
    disableAutoConnect: bool
    serverSSHAllowed: bool
    rosenpassPermissive: bool
    extraIFaceBlacklist: _containers.RepeatedScalarFieldContainer[str]
    networkMonitor: bool
    dnsRouteInterval: _duration_pb2.Duration
    disable_client_routes: bool
    disable_server_routes: bool
    disable_dns: bool
    disable_firewall: bool
    block_lan_access: bool
    disable_notifications: bool
    dns_labels: _containers.RepeatedScalarFieldContainer[str]
    cleanDNSLabels: bool
    lazyConnectionEnabled: bool
    block_inbound: bool
    profileName: str
    username: str
    mtu: int
    hint: str
    enableSSHRoot: bool
    enableSSHSFTP: bool
    enableSSHLocalPortForwarding: bool
    enableSSHRemotePortForwarding: bool
    disableSSHAuth: bool
    sshJWTCacheTTL: int
    disable_ipv6: bool
    force_relay: bool
    no_relay: bool
    home_relays: str
    relay_transport: str
    disable_ipv6_discovery: bool
    port_mapping: bool
    accept_server_key: bool
    def __init__(self, setupKey: _Optional[str] = ..., preSharedKey: _Optional[str] = ..., managementUrl: _Optional[str] = ..., adminURL: _Optional[str] = ..., natExternalIPs: _Optional[_Iterable[str]] = ..., cleanNATExternalIPs: bool = ..., customDNSAddress: _Optional[bytes] = ..., isUnixDesktopClient: bool = ..., hostname: _Optional[str] = ..., rosenpassEnabled: bool = ..., interfaceName: _Optional[str] = ..., wireguardPort: _Optional[int] = ..., optionalPreSharedKey: _Optional[str] = ..., disableAutoConnect: bool = ..., serverSSHAllowed: bool = ..., rosenpassPermissive: bool = ..., extraIFaceBlacklist: _Optional[_Iterable[str]] = ..., networkMonitor: bool = ..., dnsRouteInterval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., disable_client_routes: bool = ..., disable_server_routes: bool = ..., disable_dns: bool = ..., disable_firewall: bool = ..., block_lan_access: bool = ..., disable_notifications: bool = ..., dns_labels: _Optional[_Iterable[str]] = ..., cleanDNSLabels: bool = ..., lazyConnectionEnabled: bool = ..., block_inbound: bool = ..., profileName: _Optional[str] = ..., username: _Optional[str] = ..., mtu: _Optional[int] = ..., hint: _Optional[str] = ..., enableSSHRoot: bool = ..., enableSSHSFTP: bool = ..., enableSSHLocalPortForwarding: bool = ..., enableSSHRemotePortForwarding: bool = ..., disableSSHAuth: bool = ..., sshJWTCacheTTL: _Optional[int] = ..., disable_ipv6: bool = ..., force_relay: bool = ..., no_relay: bool = ..., home_relays: _Optional[str] = ..., relay_transport: _Optional[str] = ..., disable_ipv6_discovery: bool = ..., port_mapping: bool = ..., accept_server_key: bool = ...) -> None: ...

class LoginResponse(_message.Message):
    __slots__ = ("needsSSOLogin", "userCode", "verificationURI", "verificationURIComplete", "warnings", "not_done")
    NEEDSSSOLOGIN_FIELD_NUMBER: _ClassVar[int]
    USERCODE_FIELD_NUMBER: _ClassVar[int]
    VERIFICATIONURI_FIELD_NUMBER: _ClassVar[int]
    VERIFICATIONURICOMPLETE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    NOT_DONE_FIELD_NUMBER: _ClassVar[int]
    needsSSOLogin: bool
    userCode: str
    verificationURI: str
    verificationURIComplete: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    not_done: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, needsSSOLogin: bool = ..., userCode: _Optional[str] = ..., verificationURI: _Optional[str] = ..., verificationURIComplete: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ..., not_done: _Optional[_Iterable[str]] = ...) -> None: ...

class WaitSSOLoginRequest(_message.Message):
    __slots__ = ("userCode", "hostname")
    USERCODE_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    userCode: str
    hostname: str
    def __init__(self, userCode: _Optional[str] = ..., hostname: _Optional[str] = ...) -> None: ...

class WaitSSOLoginResponse(_message.Message):
    __slots__ = ("email",)
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    email: str
    def __init__(self, email: _Optional[str] = ...) -> None: ...

class UpRequest(_message.Message):
    __slots__ = ("profileName", "username")
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    ASYNC_FIELD_NUMBER: _ClassVar[int]
    profileName: str
    username: str
    def __init__(self, profileName: _Optional[str] = ..., username: _Optional[str] = ..., **kwargs) -> None: ...

class UpResponse(_message.Message):
    __slots__ = ("warnings",)
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("getFullPeerStatus", "shouldRunProbes", "waitForReady")
    GETFULLPEERSTATUS_FIELD_NUMBER: _ClassVar[int]
    SHOULDRUNPROBES_FIELD_NUMBER: _ClassVar[int]
    WAITFORREADY_FIELD_NUMBER: _ClassVar[int]
    getFullPeerStatus: bool
    shouldRunProbes: bool
    waitForReady: bool
    def __init__(self, getFullPeerStatus: bool = ..., shouldRunProbes: bool = ..., waitForReady: bool = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("status", "fullStatus", "daemonVersion", "sessionExpiresAt")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FULLSTATUS_FIELD_NUMBER: _ClassVar[int]
    DAEMONVERSION_FIELD_NUMBER: _ClassVar[int]
    SESSIONEXPIRESAT_FIELD_NUMBER: _ClassVar[int]
    status: str
    fullStatus: FullStatus
    daemonVersion: str
    sessionExpiresAt: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[str] = ..., fullStatus: _Optional[_Union[FullStatus, _Mapping]] = ..., daemonVersion: _Optional[str] = ..., sessionExpiresAt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DownRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DownResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = ("profileName", "username")
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    profileName: str
    username: str
    def __init__(self, profileName: _Optional[str] = ..., username: _Optional[str] = ...) -> None: ...

class GetConfigResponse(_message.Message):
    __slots__ = ("managementUrl", "configFile", "logFile", "preSharedKey", "adminURL", "interfaceName", "wireguardPort", "mtu", "disableAutoConnect", "serverSSHAllowed", "rosenpassEnabled", "rosenpassPermissive", "disable_notifications", "lazyConnectionEnabled", "blockInbound", "networkMonitor", "disable_dns", "disable_client_routes", "disable_server_routes", "block_lan_access", "enableSSHRoot", "enableSSHSFTP", "enableSSHLocalPortForwarding", "enableSSHRemotePortForwarding", "disableSSHAuth", "sshJWTCacheTTL", "disable_ipv6", "mDMManagedFields")
    MANAGEMENTURL_FIELD_NUMBER: _ClassVar[int]
    CONFIGFILE_FIELD_NUMBER: _ClassVar[int]
    LOGFILE_FIELD_NUMBER: _ClassVar[int]
    PRESHAREDKEY_FIELD_NUMBER: _ClassVar[int]
    ADMINURL_FIELD_NUMBER: _ClassVar[int]
    INTERFACENAME_FIELD_NUMBER: _ClassVar[int]
    WIREGUARDPORT_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    DISABLEAUTOCONNECT_FIELD_NUMBER: _ClassVar[int]
    SERVERSSHALLOWED_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSENABLED_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSPERMISSIVE_FIELD_NUMBER: _ClassVar[int]
    DISABLE_NOTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    LAZYCONNECTIONENABLED_FIELD_NUMBER: _ClassVar[int]
    BLOCKINBOUND_FIELD_NUMBER: _ClassVar[int]
    NETWORKMONITOR_FIELD_NUMBER: _ClassVar[int]
    DISABLE_DNS_FIELD_NUMBER: _ClassVar[int]
    DISABLE_CLIENT_ROUTES_FIELD_NUMBER: _ClassVar[int]
    DISABLE_SERVER_ROUTES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_LAN_ACCESS_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHROOT_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHSFTP_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHLOCALPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHREMOTEPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    DISABLESSHAUTH_FIELD_NUMBER: _ClassVar[int]
    SSHJWTCACHETTL_FIELD_NUMBER: _ClassVar[int]
    DISABLE_IPV6_FIELD_NUMBER: _ClassVar[int]
    MDMMANAGEDFIELDS_FIELD_NUMBER: _ClassVar[int]
    managementUrl: str
    configFile: str
    logFile: str
    preSharedKey: str
    adminURL: str
    interfaceName: str
    wireguardPort: int
    mtu: int
    disableAutoConnect: bool
    serverSSHAllowed: bool
    rosenpassEnabled: bool
    rosenpassPermissive: bool
    disable_notifications: bool
    lazyConnectionEnabled: bool
    blockInbound: bool
    networkMonitor: bool
    disable_dns: bool
    disable_client_routes: bool
    disable_server_routes: bool
    block_lan_access: bool
    enableSSHRoot: bool
    enableSSHSFTP: bool
    enableSSHLocalPortForwarding: bool
    enableSSHRemotePortForwarding: bool
    disableSSHAuth: bool
    sshJWTCacheTTL: int
    disable_ipv6: bool
    mDMManagedFields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, managementUrl: _Optional[str] = ..., configFile: _Optional[str] = ..., logFile: _Optional[str] = ..., preSharedKey: _Optional[str] = ..., adminURL: _Optional[str] = ..., interfaceName: _Optional[str] = ..., wireguardPort: _Optional[int] = ..., mtu: _Optional[int] = ..., disableAutoConnect: bool = ..., serverSSHAllowed: bool = ..., rosenpassEnabled: bool = ..., rosenpassPermissive: bool = ..., disable_notifications: bool = ..., lazyConnectionEnabled: bool = ..., blockInbound: bool = ..., networkMonitor: bool = ..., disable_dns: bool = ..., disable_client_routes: bool = ..., disable_server_routes: bool = ..., block_lan_access: bool = ..., enableSSHRoot: bool = ..., enableSSHSFTP: bool = ..., enableSSHLocalPortForwarding: bool = ..., enableSSHRemotePortForwarding: bool = ..., disableSSHAuth: bool = ..., sshJWTCacheTTL: _Optional[int] = ..., disable_ipv6: bool = ..., mDMManagedFields: _Optional[_Iterable[str]] = ...) -> None: ...

class PeerState(_message.Message):
    __slots__ = ("IP", "pubKey", "connStatus", "connStatusUpdate", "relayed", "localIceCandidateType", "remoteIceCandidateType", "fqdn", "localIceCandidateEndpoint", "remoteIceCandidateEndpoint", "lastWireguardHandshake", "bytesRx", "bytesTx", "rosenpassEnabled", "networks", "latency", "relayAddress", "sshHostKey", "ipv6", "reason", "relayTransport", "lastSeen")
    IP_FIELD_NUMBER: _ClassVar[int]
    PUBKEY_FIELD_NUMBER: _ClassVar[int]
    CONNSTATUS_FIELD_NUMBER: _ClassVar[int]
    CONNSTATUSUPDATE_FIELD_NUMBER: _ClassVar[int]
    RELAYED_FIELD_NUMBER: _ClassVar[int]
    LOCALICECANDIDATETYPE_FIELD_NUMBER: _ClassVar[int]
    REMOTEICECANDIDATETYPE_FIELD_NUMBER: _ClassVar[int]
    FQDN_FIELD_NUMBER: _ClassVar[int]
    LOCALICECANDIDATEENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REMOTEICECANDIDATEENDPOINT_FIELD_NUMBER: _ClassVar[int]
    LASTWIREGUARDHANDSHAKE_FIELD_NUMBER: _ClassVar[int]
    BYTESRX_FIELD_NUMBER: _ClassVar[int]
    BYTESTX_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSENABLED_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    RELAYADDRESS_FIELD_NUMBER: _ClassVar[int]
    SSHHOSTKEY_FIELD_NUMBER: _ClassVar[int]
    IPV6_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RELAYTRANSPORT_FIELD_NUMBER: _ClassVar[int]
    LASTSEEN_FIELD_NUMBER: _ClassVar[int]
    IP: str
    pubKey: str
    connStatus: str
    connStatusUpdate: _timestamp_pb2.Timestamp
    relayed: bool
    localIceCandidateType: str
    remoteIceCandidateType: str
    fqdn: str
    localIceCandidateEndpoint: str
    remoteIceCandidateEndpoint: str
    lastWireguardHandshake: _timestamp_pb2.Timestamp
    bytesRx: int
    bytesTx: int
    rosenpassEnabled: bool
    networks: _containers.RepeatedScalarFieldContainer[str]
    latency: _duration_pb2.Duration
    relayAddress: str
    sshHostKey: bytes
    ipv6: str
    reason: str
    relayTransport: str
    lastSeen: _timestamp_pb2.Timestamp
    def __init__(self, IP: _Optional[str] = ..., pubKey: _Optional[str] = ..., connStatus: _Optional[str] = ..., connStatusUpdate: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., relayed: bool = ..., localIceCandidateType: _Optional[str] = ..., remoteIceCandidateType: _Optional[str] = ..., fqdn: _Optional[str] = ..., localIceCandidateEndpoint: _Optional[str] = ..., remoteIceCandidateEndpoint: _Optional[str] = ..., lastWireguardHandshake: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., bytesRx: _Optional[int] = ..., bytesTx: _Optional[int] = ..., rosenpassEnabled: bool = ..., networks: _Optional[_Iterable[str]] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., relayAddress: _Optional[str] = ..., sshHostKey: _Optional[bytes] = ..., ipv6: _Optional[str] = ..., reason: _Optional[str] = ..., relayTransport: _Optional[str] = ..., lastSeen: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LocalPeerState(_message.Message):
    __slots__ = ("IP", "pubKey", "kernelInterface", "fqdn", "rosenpassEnabled", "rosenpassPermissive", "networks", "ipv6", "wgPort")
    IP_FIELD_NUMBER: _ClassVar[int]
    PUBKEY_FIELD_NUMBER: _ClassVar[int]
    KERNELINTERFACE_FIELD_NUMBER: _ClassVar[int]
    FQDN_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSENABLED_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSPERMISSIVE_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    IPV6_FIELD_NUMBER: _ClassVar[int]
    WGPORT_FIELD_NUMBER: _ClassVar[int]
    IP: str
    pubKey: str
    kernelInterface: bool
    fqdn: str
    rosenpassEnabled: bool
    rosenpassPermissive: bool
    networks: _containers.RepeatedScalarFieldContainer[str]
    ipv6: str
    wgPort: int
    def __init__(self, IP: _Optional[str] = ..., pubKey: _Optional[str] = ..., kernelInterface: bool = ..., fqdn: _Optional[str] = ..., rosenpassEnabled: bool = ..., rosenpassPermissive: bool = ..., networks: _Optional[_Iterable[str]] = ..., ipv6: _Optional[str] = ..., wgPort: _Optional[int] = ...) -> None: ...

class SignalState(_message.Message):
    __slots__ = ("URL", "connected", "error")
    URL_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    URL: str
    connected: bool
    error: str
    def __init__(self, URL: _Optional[str] = ..., connected: bool = ..., error: _Optional[str] = ...) -> None: ...

class ManagementState(_message.Message):
    __slots__ = ("URL", "connected", "error")
    URL_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    URL: str
    connected: bool
    error: str
    def __init__(self, URL: _Optional[str] = ..., connected: bool = ..., error: _Optional[str] = ...) -> None: ...

class RelayState(_message.Message):
    __slots__ = ("URI", "available", "error", "transport")
    URI_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    URI: str
    available: bool
    error: str
    transport: str
    def __init__(self, URI: _Optional[str] = ..., available: bool = ..., error: _Optional[str] = ..., transport: _Optional[str] = ...) -> None: ...

class NSGroupState(_message.Message):
    __slots__ = ("servers", "domains", "enabled", "error")
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    servers: _containers.RepeatedScalarFieldContainer[str]
    domains: _containers.RepeatedScalarFieldContainer[str]
    enabled: bool
    error: str
    def __init__(self, servers: _Optional[_Iterable[str]] = ..., domains: _Optional[_Iterable[str]] = ..., enabled: bool = ..., error: _Optional[str] = ...) -> None: ...

class SSHSessionInfo(_message.Message):
    __slots__ = ("username", "remoteAddress", "command", "jwtUsername", "portForwards")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    REMOTEADDRESS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    JWTUSERNAME_FIELD_NUMBER: _ClassVar[int]
    PORTFORWARDS_FIELD_NUMBER: _ClassVar[int]
    username: str
    remoteAddress: str
    command: str
    jwtUsername: str
    portForwards: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, username: _Optional[str] = ..., remoteAddress: _Optional[str] = ..., command: _Optional[str] = ..., jwtUsername: _Optional[str] = ..., portForwards: _Optional[_Iterable[str]] = ...) -> None: ...

class SSHServerState(_message.Message):
    __slots__ = ("enabled", "sessions")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    sessions: _containers.RepeatedCompositeFieldContainer[SSHSessionInfo]
    def __init__(self, enabled: bool = ..., sessions: _Optional[_Iterable[_Union[SSHSessionInfo, _Mapping]]] = ...) -> None: ...

class FullStatus(_message.Message):
    __slots__ = ("managementState", "signalState", "localPeerState", "peers", "relays", "dns_servers", "NumberOfForwardingRules", "events", "lazyConnectionEnabled", "sshServerState", "networksRevision")
    MANAGEMENTSTATE_FIELD_NUMBER: _ClassVar[int]
    SIGNALSTATE_FIELD_NUMBER: _ClassVar[int]
    LOCALPEERSTATE_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    RELAYS_FIELD_NUMBER: _ClassVar[int]
    DNS_SERVERS_FIELD_NUMBER: _ClassVar[int]
    NUMBEROFFORWARDINGRULES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAZYCONNECTIONENABLED_FIELD_NUMBER: _ClassVar[int]
    SSHSERVERSTATE_FIELD_NUMBER: _ClassVar[int]
    NETWORKSREVISION_FIELD_NUMBER: _ClassVar[int]
    managementState: ManagementState
    signalState: SignalState
    localPeerState: LocalPeerState
    peers: _containers.RepeatedCompositeFieldContainer[PeerState]
    relays: _containers.RepeatedCompositeFieldContainer[RelayState]
    dns_servers: _containers.RepeatedCompositeFieldContainer[NSGroupState]
    NumberOfForwardingRules: int
    events: _containers.RepeatedCompositeFieldContainer[SystemEvent]
    lazyConnectionEnabled: bool
    sshServerState: SSHServerState
    networksRevision: int
    def __init__(self, managementState: _Optional[_Union[ManagementState, _Mapping]] = ..., signalState: _Optional[_Union[SignalState, _Mapping]] = ..., localPeerState: _Optional[_Union[LocalPeerState, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[PeerState, _Mapping]]] = ..., relays: _Optional[_Iterable[_Union[RelayState, _Mapping]]] = ..., dns_servers: _Optional[_Iterable[_Union[NSGroupState, _Mapping]]] = ..., NumberOfForwardingRules: _Optional[int] = ..., events: _Optional[_Iterable[_Union[SystemEvent, _Mapping]]] = ..., lazyConnectionEnabled: bool = ..., sshServerState: _Optional[_Union[SSHServerState, _Mapping]] = ..., networksRevision: _Optional[int] = ...) -> None: ...

class ListNetworksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNetworksResponse(_message.Message):
    __slots__ = ("routes",)
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[Network]
    def __init__(self, routes: _Optional[_Iterable[_Union[Network, _Mapping]]] = ...) -> None: ...

class SelectNetworksRequest(_message.Message):
    __slots__ = ("networkIDs", "append", "all")
    NETWORKIDS_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    networkIDs: _containers.RepeatedScalarFieldContainer[str]
    append: bool
    all: bool
    def __init__(self, networkIDs: _Optional[_Iterable[str]] = ..., append: bool = ..., all: bool = ...) -> None: ...

class SelectNetworksResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class IPList(_message.Message):
    __slots__ = ("ips",)
    IPS_FIELD_NUMBER: _ClassVar[int]
    ips: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ips: _Optional[_Iterable[str]] = ...) -> None: ...

class Network(_message.Message):
    __slots__ = ("ID", "range", "selected", "domains", "resolvedIPs")
    class ResolvedIPsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: IPList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[IPList, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    SELECTED_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    RESOLVEDIPS_FIELD_NUMBER: _ClassVar[int]
    ID: str
    range: str
    selected: bool
    domains: _containers.RepeatedScalarFieldContainer[str]
    resolvedIPs: _containers.MessageMap[str, IPList]
    def __init__(self, ID: _Optional[str] = ..., range: _Optional[str] = ..., selected: bool = ..., domains: _Optional[_Iterable[str]] = ..., resolvedIPs: _Optional[_Mapping[str, IPList]] = ...) -> None: ...

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

class ForwardingRule(_message.Message):
    __slots__ = ("protocol", "destinationPort", "translatedAddress", "translatedHostname", "translatedPort")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DESTINATIONPORT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATEDADDRESS_FIELD_NUMBER: _ClassVar[int]
    TRANSLATEDHOSTNAME_FIELD_NUMBER: _ClassVar[int]
    TRANSLATEDPORT_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    destinationPort: PortInfo
    translatedAddress: str
    translatedHostname: str
    translatedPort: PortInfo
    def __init__(self, protocol: _Optional[str] = ..., destinationPort: _Optional[_Union[PortInfo, _Mapping]] = ..., translatedAddress: _Optional[str] = ..., translatedHostname: _Optional[str] = ..., translatedPort: _Optional[_Union[PortInfo, _Mapping]] = ...) -> None: ...

class ForwardingRulesResponse(_message.Message):
    __slots__ = ("rules",)
    RULES_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[ForwardingRule]
    def __init__(self, rules: _Optional[_Iterable[_Union[ForwardingRule, _Mapping]]] = ...) -> None: ...

class DebugBundleRequest(_message.Message):
    __slots__ = ("anonymize", "systemInfo", "uploadURL", "logFileCount", "cliVersion", "uploadInsecure", "anonymizeLevel")
    ANONYMIZE_FIELD_NUMBER: _ClassVar[int]
    SYSTEMINFO_FIELD_NUMBER: _ClassVar[int]
    UPLOADURL_FIELD_NUMBER: _ClassVar[int]
    LOGFILECOUNT_FIELD_NUMBER: _ClassVar[int]
    CLIVERSION_FIELD_NUMBER: _ClassVar[int]
    UPLOADINSECURE_FIELD_NUMBER: _ClassVar[int]
    ANONYMIZELEVEL_FIELD_NUMBER: _ClassVar[int]
    anonymize: bool
    systemInfo: bool
    uploadURL: str
    logFileCount: int
    cliVersion: str
    uploadInsecure: bool
    anonymizeLevel: str
    def __init__(self, anonymize: bool = ..., systemInfo: bool = ..., uploadURL: _Optional[str] = ..., logFileCount: _Optional[int] = ..., cliVersion: _Optional[str] = ..., uploadInsecure: bool = ..., anonymizeLevel: _Optional[str] = ...) -> None: ...

class DebugBundleResponse(_message.Message):
    __slots__ = ("path", "uploadedKey", "uploadFailureReason")
    PATH_FIELD_NUMBER: _ClassVar[int]
    UPLOADEDKEY_FIELD_NUMBER: _ClassVar[int]
    UPLOADFAILUREREASON_FIELD_NUMBER: _ClassVar[int]
    path: str
    uploadedKey: str
    uploadFailureReason: str
    def __init__(self, path: _Optional[str] = ..., uploadedKey: _Optional[str] = ..., uploadFailureReason: _Optional[str] = ...) -> None: ...

class GetLogLevelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLogLevelResponse(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: LogLevel
    def __init__(self, level: _Optional[_Union[LogLevel, str]] = ...) -> None: ...

class SetLogLevelRequest(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: LogLevel
    def __init__(self, level: _Optional[_Union[LogLevel, str]] = ...) -> None: ...

class SetLogLevelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegisterUILogRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class RegisterUILogResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class State(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListStatesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStatesResponse(_message.Message):
    __slots__ = ("states",)
    STATES_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedCompositeFieldContainer[State]
    def __init__(self, states: _Optional[_Iterable[_Union[State, _Mapping]]] = ...) -> None: ...

class CleanStateRequest(_message.Message):
    __slots__ = ("state_name", "all")
    STATE_NAME_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    state_name: str
    all: bool
    def __init__(self, state_name: _Optional[str] = ..., all: bool = ...) -> None: ...

class CleanStateResponse(_message.Message):
    __slots__ = ("cleaned_states",)
    CLEANED_STATES_FIELD_NUMBER: _ClassVar[int]
    cleaned_states: int
    def __init__(self, cleaned_states: _Optional[int] = ...) -> None: ...

class DeleteStateRequest(_message.Message):
    __slots__ = ("state_name", "all")
    STATE_NAME_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    state_name: str
    all: bool
    def __init__(self, state_name: _Optional[str] = ..., all: bool = ...) -> None: ...

class DeleteStateResponse(_message.Message):
    __slots__ = ("deleted_states",)
    DELETED_STATES_FIELD_NUMBER: _ClassVar[int]
    deleted_states: int
    def __init__(self, deleted_states: _Optional[int] = ...) -> None: ...

class SetSyncResponsePersistenceRequest(_message.Message):
    __slots__ = ("enabled",)
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    def __init__(self, enabled: bool = ...) -> None: ...

class SetSyncResponsePersistenceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TCPFlags(_message.Message):
    __slots__ = ("syn", "ack", "fin", "rst", "psh", "urg")
    SYN_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    FIN_FIELD_NUMBER: _ClassVar[int]
    RST_FIELD_NUMBER: _ClassVar[int]
    PSH_FIELD_NUMBER: _ClassVar[int]
    URG_FIELD_NUMBER: _ClassVar[int]
    syn: bool
    ack: bool
    fin: bool
    rst: bool
    psh: bool
    urg: bool
    def __init__(self, syn: bool = ..., ack: bool = ..., fin: bool = ..., rst: bool = ..., psh: bool = ..., urg: bool = ...) -> None: ...

class TracePacketRequest(_message.Message):
    __slots__ = ("source_ip", "destination_ip", "protocol", "source_port", "destination_port", "direction", "tcp_flags", "icmp_type", "icmp_code")
    SOURCE_IP_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_IP_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PORT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_PORT_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    TCP_FLAGS_FIELD_NUMBER: _ClassVar[int]
    ICMP_TYPE_FIELD_NUMBER: _ClassVar[int]
    ICMP_CODE_FIELD_NUMBER: _ClassVar[int]
    source_ip: str
    destination_ip: str
    protocol: str
    source_port: int
    destination_port: int
    direction: str
    tcp_flags: TCPFlags
    icmp_type: int
    icmp_code: int
    def __init__(self, source_ip: _Optional[str] = ..., destination_ip: _Optional[str] = ..., protocol: _Optional[str] = ..., source_port: _Optional[int] = ..., destination_port: _Optional[int] = ..., direction: _Optional[str] = ..., tcp_flags: _Optional[_Union[TCPFlags, _Mapping]] = ..., icmp_type: _Optional[int] = ..., icmp_code: _Optional[int] = ...) -> None: ...

class TraceStage(_message.Message):
    __slots__ = ("name", "message", "allowed", "forwarding_details")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    FORWARDING_DETAILS_FIELD_NUMBER: _ClassVar[int]
    name: str
    message: str
    allowed: bool
    forwarding_details: str
    def __init__(self, name: _Optional[str] = ..., message: _Optional[str] = ..., allowed: bool = ..., forwarding_details: _Optional[str] = ...) -> None: ...

class TracePacketResponse(_message.Message):
    __slots__ = ("stages", "final_disposition")
    STAGES_FIELD_NUMBER: _ClassVar[int]
    FINAL_DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedCompositeFieldContainer[TraceStage]
    final_disposition: bool
    def __init__(self, stages: _Optional[_Iterable[_Union[TraceStage, _Mapping]]] = ..., final_disposition: bool = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SystemEvent(_message.Message):
    __slots__ = ("id", "severity", "category", "message", "userMessage", "timestamp", "metadata")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        INFO: _ClassVar[SystemEvent.Severity]
        WARNING: _ClassVar[SystemEvent.Severity]
        ERROR: _ClassVar[SystemEvent.Severity]
        CRITICAL: _ClassVar[SystemEvent.Severity]
    INFO: SystemEvent.Severity
    WARNING: SystemEvent.Severity
    ERROR: SystemEvent.Severity
    CRITICAL: SystemEvent.Severity
    class Category(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NETWORK: _ClassVar[SystemEvent.Category]
        DNS: _ClassVar[SystemEvent.Category]
        AUTHENTICATION: _ClassVar[SystemEvent.Category]
        CONNECTIVITY: _ClassVar[SystemEvent.Category]
        SYSTEM: _ClassVar[SystemEvent.Category]
    NETWORK: SystemEvent.Category
    DNS: SystemEvent.Category
    AUTHENTICATION: SystemEvent.Category
    CONNECTIVITY: SystemEvent.Category
    SYSTEM: SystemEvent.Category
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    USERMESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    severity: SystemEvent.Severity
    category: SystemEvent.Category
    message: str
    userMessage: str
    timestamp: _timestamp_pb2.Timestamp
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[str] = ..., severity: _Optional[_Union[SystemEvent.Severity, str]] = ..., category: _Optional[_Union[SystemEvent.Category, str]] = ..., message: _Optional[str] = ..., userMessage: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GetEventsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[SystemEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[SystemEvent, _Mapping]]] = ...) -> None: ...

class SwitchProfileRequest(_message.Message):
    __slots__ = ("profileName", "username")
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    profileName: str
    username: str
    def __init__(self, profileName: _Optional[str] = ..., username: _Optional[str] = ...) -> None: ...

class SwitchProfileResponse(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class SetConfigRequest(_message.Message):
    __slots__ = ("username", "profileName", "managementUrl", "adminURL", "rosenpassEnabled", "interfaceName", "wireguardPort", "optionalPreSharedKey", "disableAutoConnect", "serverSSHAllowed", "rosenpassPermissive", "networkMonitor", "disable_client_routes", "disable_server_routes", "disable_dns", "disable_firewall", "block_lan_access", "disable_notifications", "lazyConnectionEnabled", "block_inbound", "natExternalIPs", "cleanNATExternalIPs", "customDNSAddress", "extraIFaceBlacklist", "dns_labels", "cleanDNSLabels", "dnsRouteInterval", "mtu", "enableSSHRoot", "enableSSHSFTP", "enableSSHLocalPortForwarding", "enableSSHRemotePortForwarding", "disableSSHAuth", "sshJWTCacheTTL", "disable_ipv6")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    MANAGEMENTURL_FIELD_NUMBER: _ClassVar[int]
    ADMINURL_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSENABLED_FIELD_NUMBER: _ClassVar[int]
    INTERFACENAME_FIELD_NUMBER: _ClassVar[int]
    WIREGUARDPORT_FIELD_NUMBER: _ClassVar[int]
    OPTIONALPRESHAREDKEY_FIELD_NUMBER: _ClassVar[int]
    DISABLEAUTOCONNECT_FIELD_NUMBER: _ClassVar[int]
    SERVERSSHALLOWED_FIELD_NUMBER: _ClassVar[int]
    ROSENPASSPERMISSIVE_FIELD_NUMBER: _ClassVar[int]
    NETWORKMONITOR_FIELD_NUMBER: _ClassVar[int]
    DISABLE_CLIENT_ROUTES_FIELD_NUMBER: _ClassVar[int]
    DISABLE_SERVER_ROUTES_FIELD_NUMBER: _ClassVar[int]
    DISABLE_DNS_FIELD_NUMBER: _ClassVar[int]
    DISABLE_FIREWALL_FIELD_NUMBER: _ClassVar[int]
    BLOCK_LAN_ACCESS_FIELD_NUMBER: _ClassVar[int]
    DISABLE_NOTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    LAZYCONNECTIONENABLED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_INBOUND_FIELD_NUMBER: _ClassVar[int]
    NATEXTERNALIPS_FIELD_NUMBER: _ClassVar[int]
    CLEANNATEXTERNALIPS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMDNSADDRESS_FIELD_NUMBER: _ClassVar[int]
    EXTRAIFACEBLACKLIST_FIELD_NUMBER: _ClassVar[int]
    DNS_LABELS_FIELD_NUMBER: _ClassVar[int]
    CLEANDNSLABELS_FIELD_NUMBER: _ClassVar[int]
    DNSROUTEINTERVAL_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHROOT_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHSFTP_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHLOCALPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    ENABLESSHREMOTEPORTFORWARDING_FIELD_NUMBER: _ClassVar[int]
    DISABLESSHAUTH_FIELD_NUMBER: _ClassVar[int]
    SSHJWTCACHETTL_FIELD_NUMBER: _ClassVar[int]
    DISABLE_IPV6_FIELD_NUMBER: _ClassVar[int]
    username: str
    profileName: str
    managementUrl: str
    adminURL: str
    rosenpassEnabled: bool
    interfaceName: str
    wireguardPort: int
    optionalPreSharedKey: str
    disableAutoConnect: bool
    serverSSHAllowed: bool
    rosenpassPermissive: bool
    networkMonitor: bool
    disable_client_routes: bool
    disable_server_routes: bool
    disable_dns: bool
    disable_firewall: bool
    block_lan_access: bool
    disable_notifications: bool
    lazyConnectionEnabled: bool
    block_inbound: bool
    natExternalIPs: _containers.RepeatedScalarFieldContainer[str]
    cleanNATExternalIPs: bool
    customDNSAddress: bytes
    extraIFaceBlacklist: _containers.RepeatedScalarFieldContainer[str]
    dns_labels: _containers.RepeatedScalarFieldContainer[str]
    cleanDNSLabels: bool
    dnsRouteInterval: _duration_pb2.Duration
    mtu: int
    enableSSHRoot: bool
    enableSSHSFTP: bool
    enableSSHLocalPortForwarding: bool
    enableSSHRemotePortForwarding: bool
    disableSSHAuth: bool
    sshJWTCacheTTL: int
    disable_ipv6: bool
    def __init__(self, username: _Optional[str] = ..., profileName: _Optional[str] = ..., managementUrl: _Optional[str] = ..., adminURL: _Optional[str] = ..., rosenpassEnabled: bool = ..., interfaceName: _Optional[str] = ..., wireguardPort: _Optional[int] = ..., optionalPreSharedKey: _Optional[str] = ..., disableAutoConnect: bool = ..., serverSSHAllowed: bool = ..., rosenpassPermissive: bool = ..., networkMonitor: bool = ..., disable_client_routes: bool = ..., disable_server_routes: bool = ..., disable_dns: bool = ..., disable_firewall: bool = ..., block_lan_access: bool = ..., disable_notifications: bool = ..., lazyConnectionEnabled: bool = ..., block_inbound: bool = ..., natExternalIPs: _Optional[_Iterable[str]] = ..., cleanNATExternalIPs: bool = ..., customDNSAddress: _Optional[bytes] = ..., extraIFaceBlacklist: _Optional[_Iterable[str]] = ..., dns_labels: _Optional[_Iterable[str]] = ..., cleanDNSLabels: bool = ..., dnsRouteInterval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., mtu: _Optional[int] = ..., enableSSHRoot: bool = ..., enableSSHSFTP: bool = ..., enableSSHLocalPortForwarding: bool = ..., enableSSHRemotePortForwarding: bool = ..., disableSSHAuth: bool = ..., sshJWTCacheTTL: _Optional[int] = ..., disable_ipv6: bool = ...) -> None: ...

class SetConfigResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AddProfileRequest(_message.Message):
    __slots__ = ("username", "profileName")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    username: str
    profileName: str
    def __init__(self, username: _Optional[str] = ..., profileName: _Optional[str] = ...) -> None: ...

class AddProfileResponse(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RenameProfileRequest(_message.Message):
    __slots__ = ("username", "handle", "newProfileName")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    NEWPROFILENAME_FIELD_NUMBER: _ClassVar[int]
    username: str
    handle: str
    newProfileName: str
    def __init__(self, username: _Optional[str] = ..., handle: _Optional[str] = ..., newProfileName: _Optional[str] = ...) -> None: ...

class RenameProfileResponse(_message.Message):
    __slots__ = ("oldProfileName",)
    OLDPROFILENAME_FIELD_NUMBER: _ClassVar[int]
    oldProfileName: str
    def __init__(self, oldProfileName: _Optional[str] = ...) -> None: ...

class RemoveProfileRequest(_message.Message):
    __slots__ = ("username", "profileName")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    username: str
    profileName: str
    def __init__(self, username: _Optional[str] = ..., profileName: _Optional[str] = ...) -> None: ...

class RemoveProfileResponse(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListProfilesRequest(_message.Message):
    __slots__ = ("username",)
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    username: str
    def __init__(self, username: _Optional[str] = ...) -> None: ...

class ListProfilesResponse(_message.Message):
    __slots__ = ("profiles",)
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    profiles: _containers.RepeatedCompositeFieldContainer[Profile]
    def __init__(self, profiles: _Optional[_Iterable[_Union[Profile, _Mapping]]] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("name", "is_active", "id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_active: bool
    id: str
    def __init__(self, name: _Optional[str] = ..., is_active: bool = ..., id: _Optional[str] = ...) -> None: ...

class GetActiveProfileRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetActiveProfileResponse(_message.Message):
    __slots__ = ("profileName", "username", "id")
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    profileName: str
    username: str
    id: str
    def __init__(self, profileName: _Optional[str] = ..., username: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class LogoutRequest(_message.Message):
    __slots__ = ("profileName", "username", "local")
    PROFILENAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FIELD_NUMBER: _ClassVar[int]
    profileName: str
    username: str
    local: bool
    def __init__(self, profileName: _Optional[str] = ..., username: _Optional[str] = ..., local: bool = ...) -> None: ...

class LogoutResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WailsUIReadyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WailsUIReadyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetFeaturesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetFeaturesResponse(_message.Message):
    __slots__ = ("disable_profiles", "disable_update_settings", "disable_networks", "disable_advanced_view")
    DISABLE_PROFILES_FIELD_NUMBER: _ClassVar[int]
    DISABLE_UPDATE_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    DISABLE_NETWORKS_FIELD_NUMBER: _ClassVar[int]
    DISABLE_ADVANCED_VIEW_FIELD_NUMBER: _ClassVar[int]
    disable_profiles: bool
    disable_update_settings: bool
    disable_networks: bool
    disable_advanced_view: bool
    def __init__(self, disable_profiles: bool = ..., disable_update_settings: bool = ..., disable_networks: bool = ..., disable_advanced_view: bool = ...) -> None: ...

class MDMManagedFieldsViolation(_message.Message):
    __slots__ = ("fields",)
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, fields: _Optional[_Iterable[str]] = ...) -> None: ...

class TriggerUpdateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TriggerUpdateResponse(_message.Message):
    __slots__ = ("success", "errorMsg")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERRORMSG_FIELD_NUMBER: _ClassVar[int]
    success: bool
    errorMsg: str
    def __init__(self, success: bool = ..., errorMsg: _Optional[str] = ...) -> None: ...

class GetPeerSSHHostKeyRequest(_message.Message):
    __slots__ = ("peerAddress",)
    PEERADDRESS_FIELD_NUMBER: _ClassVar[int]
    peerAddress: str
    def __init__(self, peerAddress: _Optional[str] = ...) -> None: ...

class GetPeerSSHHostKeyResponse(_message.Message):
    __slots__ = ("sshHostKey", "peerIP", "peerFQDN", "found")
    SSHHOSTKEY_FIELD_NUMBER: _ClassVar[int]
    PEERIP_FIELD_NUMBER: _ClassVar[int]
    PEERFQDN_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    sshHostKey: bytes
    peerIP: str
    peerFQDN: str
    found: bool
    def __init__(self, sshHostKey: _Optional[bytes] = ..., peerIP: _Optional[str] = ..., peerFQDN: _Optional[str] = ..., found: bool = ...) -> None: ...

class RequestJWTAuthRequest(_message.Message):
    __slots__ = ("hint", "hasGraphicalSession")
    HINT_FIELD_NUMBER: _ClassVar[int]
    HASGRAPHICALSESSION_FIELD_NUMBER: _ClassVar[int]
    hint: str
    hasGraphicalSession: bool
    def __init__(self, hint: _Optional[str] = ..., hasGraphicalSession: bool = ...) -> None: ...

class RequestJWTAuthResponse(_message.Message):
    __slots__ = ("verificationURI", "verificationURIComplete", "userCode", "deviceCode", "expiresIn", "cachedToken", "maxTokenAge")
    VERIFICATIONURI_FIELD_NUMBER: _ClassVar[int]
    VERIFICATIONURICOMPLETE_FIELD_NUMBER: _ClassVar[int]
    USERCODE_FIELD_NUMBER: _ClassVar[int]
    DEVICECODE_FIELD_NUMBER: _ClassVar[int]
    EXPIRESIN_FIELD_NUMBER: _ClassVar[int]
    CACHEDTOKEN_FIELD_NUMBER: _ClassVar[int]
    MAXTOKENAGE_FIELD_NUMBER: _ClassVar[int]
    verificationURI: str
    verificationURIComplete: str
    userCode: str
    deviceCode: str
    expiresIn: int
    cachedToken: str
    maxTokenAge: int
    def __init__(self, verificationURI: _Optional[str] = ..., verificationURIComplete: _Optional[str] = ..., userCode: _Optional[str] = ..., deviceCode: _Optional[str] = ..., expiresIn: _Optional[int] = ..., cachedToken: _Optional[str] = ..., maxTokenAge: _Optional[int] = ...) -> None: ...

class WaitJWTTokenRequest(_message.Message):
    __slots__ = ("deviceCode", "userCode")
    DEVICECODE_FIELD_NUMBER: _ClassVar[int]
    USERCODE_FIELD_NUMBER: _ClassVar[int]
    deviceCode: str
    userCode: str
    def __init__(self, deviceCode: _Optional[str] = ..., userCode: _Optional[str] = ...) -> None: ...

class WaitJWTTokenResponse(_message.Message):
    __slots__ = ("token", "tokenType", "expiresIn")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKENTYPE_FIELD_NUMBER: _ClassVar[int]
    EXPIRESIN_FIELD_NUMBER: _ClassVar[int]
    token: str
    tokenType: str
    expiresIn: int
    def __init__(self, token: _Optional[str] = ..., tokenType: _Optional[str] = ..., expiresIn: _Optional[int] = ...) -> None: ...

class RequestExtendAuthSessionRequest(_message.Message):
    __slots__ = ("hint", "hasGraphicalSession")
    HINT_FIELD_NUMBER: _ClassVar[int]
    HASGRAPHICALSESSION_FIELD_NUMBER: _ClassVar[int]
    hint: str
    hasGraphicalSession: bool
    def __init__(self, hint: _Optional[str] = ..., hasGraphicalSession: bool = ...) -> None: ...

class RequestExtendAuthSessionResponse(_message.Message):
    __slots__ = ("verificationURI", "verificationURIComplete", "userCode", "deviceCode", "expiresIn")
    VERIFICATIONURI_FIELD_NUMBER: _ClassVar[int]
    VERIFICATIONURICOMPLETE_FIELD_NUMBER: _ClassVar[int]
    USERCODE_FIELD_NUMBER: _ClassVar[int]
    DEVICECODE_FIELD_NUMBER: _ClassVar[int]
    EXPIRESIN_FIELD_NUMBER: _ClassVar[int]
    verificationURI: str
    verificationURIComplete: str
    userCode: str
    deviceCode: str
    expiresIn: int
    def __init__(self, verificationURI: _Optional[str] = ..., verificationURIComplete: _Optional[str] = ..., userCode: _Optional[str] = ..., deviceCode: _Optional[str] = ..., expiresIn: _Optional[int] = ...) -> None: ...

class WaitExtendAuthSessionRequest(_message.Message):
    __slots__ = ("deviceCode", "userCode")
    DEVICECODE_FIELD_NUMBER: _ClassVar[int]
    USERCODE_FIELD_NUMBER: _ClassVar[int]
    deviceCode: str
    userCode: str
    def __init__(self, deviceCode: _Optional[str] = ..., userCode: _Optional[str] = ...) -> None: ...

class WaitExtendAuthSessionResponse(_message.Message):
    __slots__ = ("sessionExpiresAt",)
    SESSIONEXPIRESAT_FIELD_NUMBER: _ClassVar[int]
    sessionExpiresAt: _timestamp_pb2.Timestamp
    def __init__(self, sessionExpiresAt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DismissSessionWarningRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DismissSessionWarningResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartCPUProfileRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartCPUProfileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopCPUProfileRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopCPUProfileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InstallerResultRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InstallerResultResponse(_message.Message):
    __slots__ = ("success", "errorMsg")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERRORMSG_FIELD_NUMBER: _ClassVar[int]
    success: bool
    errorMsg: str
    def __init__(self, success: bool = ..., errorMsg: _Optional[str] = ...) -> None: ...

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

class ExposeServiceEvent(_message.Message):
    __slots__ = ("ready",)
    READY_FIELD_NUMBER: _ClassVar[int]
    ready: ExposeServiceReady
    def __init__(self, ready: _Optional[_Union[ExposeServiceReady, _Mapping]] = ...) -> None: ...

class ExposeServiceReady(_message.Message):
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

class StartCaptureRequest(_message.Message):
    __slots__ = ("text_output", "snap_len", "duration", "filter_expr", "verbose", "ascii")
    TEXT_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SNAP_LEN_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    FILTER_EXPR_FIELD_NUMBER: _ClassVar[int]
    VERBOSE_FIELD_NUMBER: _ClassVar[int]
    ASCII_FIELD_NUMBER: _ClassVar[int]
    text_output: bool
    snap_len: int
    duration: _duration_pb2.Duration
    filter_expr: str
    verbose: bool
    ascii: bool
    def __init__(self, text_output: bool = ..., snap_len: _Optional[int] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., filter_expr: _Optional[str] = ..., verbose: bool = ..., ascii: bool = ...) -> None: ...

class CapturePacket(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class StartBundleCaptureRequest(_message.Message):
    __slots__ = ("timeout",)
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    timeout: _duration_pb2.Duration
    def __init__(self, timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StartBundleCaptureResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopBundleCaptureRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopBundleCaptureResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
