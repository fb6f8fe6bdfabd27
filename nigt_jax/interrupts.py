"""Being told to stop, politely. Needs no JAX, so that it works from the first moment."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interruptions(announce: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set, instead of what they did before; SIGHUP unless it is ignored.

    Whoever works looks at it between two pieces of work. A second SIGINT raises KeyboardInterrupt as usual. Only the
    main thread hears signals; elsewhere the event is never set.

    Args:
      announce: called at the first signal, to tell the user that it was heard, unless that cannot be written just now.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        first = not event.is_set()
        event.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if first:
            # In the middle of a write Python refuses another one to the same stream; the run is worth more.
            with contextlib.suppress(OSError, RuntimeError):
                announce()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
