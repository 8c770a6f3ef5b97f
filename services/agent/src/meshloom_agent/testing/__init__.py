"""The agent's mesh in the simulated network: whole meshes in virtual time, of the code that the daemon runs."""

from meshloom_agent.testing.agent import SimulatedAgent
from meshloom_agent.testing.mesh import SimulatedMesh

__all__ = ["SimulatedAgent", "SimulatedMesh"]
