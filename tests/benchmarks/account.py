"""What benches set in the account of a server that runs in a namespace."""


def set_lazy(server, lazy):
    """Whether peers sleep until there is traffic."""
    (account,) = server.api("GET", "/api/accounts")[1]
    settings = {**account["settings"], "lazy_connection_enabled": lazy}
    status, answer = server.api("PUT", f"/api/accounts/{account['id']}", {**account, "settings": settings})
    assert status == 200, answer
