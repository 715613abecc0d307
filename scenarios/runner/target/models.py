"""The one question that a target is asked before any load: which models it serves."""

from __future__ import annotations

import asyncio

import httpx

from scenarios.address import Road
from scenarios.errors import TargetError
from scenarios.load.target import parse_target

_TIMEOUT_S = 10.0


class KeyRefused(TargetError):
    """The target is there and wants another key."""


async def ask_models(base_url: str, key: str, road: Road, timeout_s: float = _TIMEOUT_S) -> httpx.Response:
    """What /v1/models answers, by the road that the load will take.

    Raises:
        TargetError: URL or key cannot be used, or nothing answers there.
        KeyRefused: it refuses the key.
    """
    target = await asyncio.to_thread(parse_target, base_url, key, road)
    address = target.address
    headers = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else {}
    headers |= dict(target.headers)
    transport = httpx.AsyncHTTPTransport(
        verify=target.tls or True,
        proxy=httpx.Proxy(road.proxy) if road.proxy else None,
        uds=address.socket or None,
        trust_env=False,
    )
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=None, headers=headers, transport=transport) as http,
        ):
            answer = await http.get(f"{address.scheme}://{address.authority}{address.prefix}/v1/models")
    except (httpx.HTTPError, TimeoutError) as error:
        what = f"nothing answers at {base_url} ({type(error).__name__}); is the server started?"
        raise TargetError(what) from error
    if answer.status_code in (401, 403):
        raise KeyRefused(f"{base_url} refuses the key ({answer.status_code}); set SEATRIAL_API_KEY")
    return answer


def first_model(answer: httpx.Response) -> str | None:
    """The name of the first one; None where the answer is no list of models."""
    try:
        return str(answer.json()["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
