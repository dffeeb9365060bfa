"""Lets a script use either client in the same words."""

import asyncio
import inspect

from evbus_client import AsyncClient, Client

_loop = None


def make(kind, sock_dir, **options):
    if kind == "sync":
        return Client(sock_dir, **options)
    return AsyncClient(sock_dir, **options)


def do(result):
    """Waits for what a call gave, if it is to be waited for."""
    global _loop
    if not inspect.isawaitable(result):
        return result
    if _loop is None:
        _loop = asyncio.new_event_loop()
    return _loop.run_until_complete(result)


def each(iterator):
    """Goes through an iterator of either kind."""
    if not hasattr(iterator, "__anext__"):
        yield from iterator
    else:
        while True:
            yield do(iterator.__anext__())


def end(client):
    do(client.close())
    if _loop is not None:
        _loop.run_until_complete(_loop.shutdown_asyncgens())
        _loop.close()


def raises(kind, call, *texts):
    """The error that a call raises, after checking its type and text."""
    try:
        do(call())
    except kind as error:
        for text in texts:
            assert text in str(error), (text, str(error))
        return error
    raise AssertionError(f"expected {kind.__name__}")
