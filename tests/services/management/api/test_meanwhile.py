"""What is taken away while a request is under way: its body drips in, or its write waits for others."""

import anyio
import attrs
import pytest

from meshloom.model.user import Role

pytestmark = pytest.mark.anyio


async def blocked(server):
    await server.put(attrs.evolve(server.user("svc-admin"), is_blocked=True))


async def demoted(server):
    await server.put(attrs.evolve(server.user("svc-admin"), role=Role.AUDITOR))


async def without_token(server):
    await server.take_token("svc-admin")


TAKEN = [
    (without_token, 401, "token invalid"),
    (blocked, 403, "user is blocked"),
    (demoted, 403, "permission denied"),
]


@pytest.mark.parametrize(("take", "status", "message"), TAKEN)
async def test_what_is_taken_away_while_the_body_drips_in_counts(server, take, status, message):
    async def dripping():
        yield b'{"name":'
        await take(server)
        yield b'"late"}'

    answer = await server.ask("svc-admin", "POST", "/api/groups", content=dripping())
    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert "late" not in [group.name for group in server.state.groups.values()]


@pytest.mark.parametrize(("take", "status", "message"), TAKEN)
async def test_what_is_taken_away_while_the_write_waits_counts(server, take, status, message):
    await server.ask("svc-admin", "GET", "/api/groups")  # its use is noted now, and not in the next minute
    answers = []

    async def ask():
        answers.append(await server.ask("svc-admin", "POST", "/api/groups", json={"name": "late"}))

    async with anyio.create_task_group() as tasks:
        server.store.close()
        tasks.start_soon(take, server)
        await server.store.waiting.wait()  # it is being stored, and not seen by anybody yet
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        server.store.open()
    assert [(answer.status_code, answer.json()["message"]) for answer in answers] == [(status, message)]
    assert "late" not in [group.name for group in server.state.groups.values()]


async def test_a_token_that_goes_while_its_use_is_noted_shows_nothing(server):
    async with anyio.create_task_group() as tasks:
        server.store.close()
        tasks.start_soon(without_token, server)
        await server.store.waiting.wait()
        answers = []

        async def ask():
            answers.append(await server.ask("svc-admin", "GET", "/api/groups"))

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        server.store.open()
    assert [answer.status_code for answer in answers] == [401]


async def test_a_machine_that_was_raised_meanwhile_gets_no_token_of_a_lesser_one(server):
    auditor = server.user("svc-billing_admin")
    await server.ask("network_admin", "GET", "/api/groups")
    answers = []

    async def raise_it():
        await server.put(attrs.evolve(auditor, role=Role.ADMIN))

    async def ask():
        path = f"/api/users/{auditor.id}/tokens"
        answers.append(await server.ask("network_admin", "POST", path, json={"name": "x", "expires_in": 1}))

    async with anyio.create_task_group() as tasks:
        server.store.close()
        tasks.start_soon(raise_it)
        await server.store.waiting.wait()
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        server.store.open()
    assert [answer.status_code for answer in answers] == [403]
