"""Contracts on pop-evbus's ``broker``: what it has taken also goes to the evbus host.

Idem's ``hub.idem.event.put`` calls the broker for every event, whether or not the acct file has a profile
that the event goes to. They run after it: an event that the broker refuses, with an error in the caller, is
none; and it has serialized the body, so that what is seen here is what it took.
"""

from evbus_idem.bridge import BRIDGE


def post_put(hub, ctx):
    _pass_on(hub, ctx)


def post_put_nowait(hub, ctx):
    _pass_on(hub, ctx)


def _pass_on(hub, ctx):
    # Idem comes first: whatever happens here, its event was fired, and it goes on.
    try:
        if not BRIDGE.wants_events():
            return
        arguments = ctx.get_arguments()
        # Idem's own form of JSON, whichever one its providers get.
        text = hub.serial.json.dump(arguments["body"]).decode()
        BRIDGE.fire(text, arguments["profile"])
    except Exception as error:
        BRIDGE.failed(error)
