"""STUN servers in the status: asked only when told to, and not again too soon."""

import anyio
import pytest

from meshloom.protocol.stun import answer
from meshloom_agent.diagnostics.servers import ServerProbes

pytestmark = pytest.mark.anyio


async def test_servers_that_answer_are_available_for_a_while():
    asked = []
    async with anyio.create_task_group() as tasks, await anyio.create_udp_socket(local_host="127.0.0.1") as server:
        port = server.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610

        async def serve():
            async for data, source in server:
                asked.append(data)
                await server.sendto(b"rubbish first", *source)
                await server.sendto(answer(data, source), *source)

        tasks.start_soon(serve)
        probes, servers = ServerProbes(), [("127.0.0.1", port), ("nowhere.invalid", 3478)]
        assert [each.available for each in probes.known(servers)] == [False, False]
        good, bad = await probes.look(servers)
        assert (good.uri, good.available, good.error) == (f"stun:127.0.0.1:{port}", True, "")
        assert (bad.available, bad.error != "") == (False, True)
        assert await probes.look(servers) == [good, bad] == probes.known(servers)
        assert len(asked) == 1
        tasks.cancel_scope.cancel()
