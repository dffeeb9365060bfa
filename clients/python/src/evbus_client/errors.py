"""What can go wrong between a program and a host."""


class EvbusError(Exception):
    """The base of every error of this package."""

    def __str__(self) -> str:
        # Of those that are an OSError, without its "[Errno 111]": the text says what that means.
        return str(self.args[-1]) if self.args else ""


class NotConfigured(EvbusError):
    """No socket directory was given, and ``EVBUS_SOCK_DIR`` is not set."""


class BodyError(EvbusError, ValueError):
    """The event cannot be made; nothing of it was sent. The text names the place in the body."""


class NoHost(EvbusError, ConnectionError):
    """No host answers in the socket directory; nothing of the event was sent."""


class NoRoom(EvbusError, BlockingIOError):
    """The socket takes nothing at the moment; nothing of the event was sent."""


class NotConfirmed(EvbusError, ConnectionError):
    """The connection ended before the host said that it has the event. It may have arrived.

    A Salt master never says it: use ``fire_event`` there.
    """


class Refused(EvbusError):
    """The host says that it has not kept every event of this call at every destination, and why. Fired again,
    those that it has kept may be delivered twice."""


class TimedOut(EvbusError, TimeoutError):
    """The host did not take the event in time, mostly since it has no room. It may still take it."""


class LostSync(EvbusError):
    """The host sent what is no frame. The clients reconnect by themselves and show a ``Gap``."""
