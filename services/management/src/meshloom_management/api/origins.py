"""Pages in browsers, and what those of other origins may ask (CORS)."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response


def is_own_origin(origin: str, url: str, host: str) -> bool:
    """Whether a page of that origin is the server's own.

    Args:
        origin: What the browser says of the page.
        url: Where people reach the server.
        host: Where this request reached it; only an address counts, since any name can be made to lead here.
    """
    public = urlsplit(url)
    if origin.lower() == f"{public.scheme}://{public.netloc}".lower():
        return True
    try:
        page = urlsplit(origin)
        ip_address(page.hostname or "")
    except ValueError:
        return False
    return page.netloc == host


def preflight(request: Request) -> Response:
    """Answers a browser that asks for a page of any origin whether it may: it may, as nothing here trusts a browser."""
    asked = request.headers.get("access-control-request-headers", "")
    names = ["-".join(part.capitalize() for part in name.strip().split("-")) for name in asked.split(",")]
    headers = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": request.headers["access-control-request-method"].upper(),
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    if any(names):
        headers["access-control-allow-headers"] = ", ".join(names)
    return Response(status_code=204, headers=headers)
