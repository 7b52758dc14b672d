# SPDX-License-Identifier: Apache-2.0
"""What the parity tests of both facades have in common: public methods, signatures, and requests sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

#: Positional and named arguments of a call.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def public(kind: type) -> dict[str, Any]:
    """Return constructor and public methods of a class, without inherited ones."""
    return {
        name: value
        for name, value in vars(kind).items()
        if callable(value) and (not name.startswith("_") or name == "__init__")
    }


def shape(function: Callable[..., Any], *, without: str = "") -> str:
    """Return the signature as text; an async iterator counts as a plain one."""
    signature = inspect.signature(function)
    kept = [parameter for name, parameter in signature.parameters.items() if name != without]
    return str(signature.replace(parameters=kept)).replace("AsyncIterator[", "Iterator[")


def call_plain(facade: Any, name: str, arguments: Arguments) -> None:
    """Call a method of a facade; if it returns an iterator, read it to its end, which comes at once."""
    found = getattr(facade, name)(*arguments[0], **arguments[1])
    assert not inspect.isgenerator(found) or list(found) == []


def call_native(facade: Any, name: str, arguments: Arguments) -> None:
    """Make the same call on the async client inside a facade."""

    async def call(client: Any) -> None:
        found = getattr(client, name)(*arguments[0], **arguments[1])
        if inspect.isawaitable(found):
            await found
        else:
            assert [item async for item in found] == []

    facade.run(call)


def without_boundary(body: bytes) -> bytes:
    """Return a body without the random boundary of its parts."""
    return body.replace(body.split(b"\r\n")[0].strip(b"-"), b"") if body.startswith(b"--") else body
