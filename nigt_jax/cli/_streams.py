"""Standard output and standard error, which may vanish: a reader that leaves, a full disk, a closed descriptor."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class Forgiving:
    """A text stream that loses what cannot be written instead of raising; otherwise the stream that it is made of.

    Attributes:
      lost: why the first text could not be written, None as long as all could be.
    """

    def __init__(self, stream: Any, tell: Callable[[OSError], None]):
        self._stream, self._tell = stream, tell
        self.lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes the text, or loses it."""
        with self._losing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is buffered, or loses it."""
        with self._losing():
            self._stream.flush()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self.lost is None:
                self.lost = error
                self._discard_the_rest()
                self._tell(error)

    def _discard_the_rest(self) -> None:
        """Without this, Python tries again to write what it has buffered when it exits, and fails loudly."""
        with contextlib.suppress(OSError, io.UnsupportedOperation):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def forgiving_streams() -> Iterator[None]:
    """Standard output and standard error that never raise; what is lost of standard output is told on the other, once.

    A standard descriptor that is closed becomes the null device: a file opened later would get its number, and with it
    whatever a library writes there.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets a ? for a ±
    with contextlib.ExitStack() as opened:
        output, errors = (stream or opened.enter_context(open(os.devnull, "w", encoding="utf-8")) for stream in before)
        sys.stderr = Forgiving(errors, lambda error: None)
        sys.stdout = Forgiving(output, _tell)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def keep_descriptor_to_us() -> None:
    """What libraries in C write to the descriptor of standard output goes nowhere; what Python prints still appears.

    Gloo, by which processes on CPUs tell each other numbers, reports every connection there.
    """
    own, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    stream = open(own, "w", encoding=sys.stdout.encoding, errors="replace", buffering=1)  # noqa: SIM115  (until the end)
    sys.stdout = Forgiving(stream, _tell)


def was_shown() -> bool:
    """Whether standard output was written, or its reader had enough of it: False is a fault, such as a full disk."""
    sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    return lost is None or isinstance(lost, BrokenPipeError)


def _tell(error: OSError) -> None:
    print(f"nigt: standard output: cannot be written: {error.strerror or error}", file=sys.stderr)
