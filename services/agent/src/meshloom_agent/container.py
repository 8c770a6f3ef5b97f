"""What the daemon is made of, from parts that are open already."""

from dependency_injector import containers, providers

from meshloom.config import Chosen
from meshloom.tunnel import Tunnel, TunnelContext
from meshloom_agent.daemon import Daemon
from meshloom_agent.files import StateDir


class AgentContainer(containers.DeclarativeContainer):
    """Constructors only; nothing here opens or closes anything."""

    files: providers.Provider[StateDir] = providers.Dependency()
    tunnel: providers.Provider[Chosen[TunnelContext, Tunnel]] = providers.Dependency()
    extra_roots: providers.Provider[bytes] = providers.Dependency()

    daemon = providers.Singleton(Daemon, files, tunnel, extra_roots)
