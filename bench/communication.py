"""What devices tell each other in a round, read off the compiled program.

XLA's text of a program is the truth here: what its passes merged, moved or removed is merged, moved or removed in what
is counted. It is a list of computations that call each other, so how often an exchange happens follows from the loops
on the way to it.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

from nigt_jax.runtimes import SimulatedRuntime

_COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "recv",
    "reduce-scatter",
    "send",
)
# Who asked for the exchange, by a function of this project on the stack when it was traced; the innermost decides.
_PURPOSES = {
    "tell": "gradient",
    "observation_statistics": "statistics",
    "_leave_one_out": "baseline",
    "_Baseline.learn": "critic",
    "run_chunk": "metrics",
    "evaluate": "evaluation",
}
_BYTES = {"pred": 1} | {f"{kind}{bits}": bits // 8 for kind in ("s", "u", "f", "bf") for bits in (8, 16, 32, 64)}

_COMPUTATION = re.compile(r"^(?:ENTRY )?%(\S+) \(.*\{$")
_INSTRUCTION = re.compile(r"^  (?:ROOT )?%(\S+) = (.*)$")
_COLLECTIVE = re.compile(rf" ({'|'.join(_COLLECTIVES)})(?:-start)?\(")
_CALLED = re.compile(r"(?:body|condition|calls|to_apply|branch_computations|called_computations)=(\{[^}]*\}|%[^\s,]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_FRAME = re.compile(r"stack_frame_id=(\d+)")
_ELEMENT = re.compile(r" get-tuple-element\(%([^\s)]+)\), index=(\d+)")


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One collective operation of a program.

    Attributes:
      kind: such as all-reduce.
      parts: purpose of each array in it, and its bytes on one device: ``gradient``, ``weight``, ``baseline``,
        ``critic``, ``statistics``, ``metrics``, ``evaluation`` or ``other``.
      times: in a pass of the loops below.
      loops: around it, of which XLA cannot know how often they run: 0 of what happens once a chunk, 1 of what happens
        in every round, 2 of what happens in every block of it.
    """

    kind: str
    parts: tuple[tuple[str, int], ...]
    times: int
    loops: int

    @property
    def bytes(self) -> int:
        """Of one device, each time."""
        return sum(size for _, size in self.parts)


@dataclasses.dataclass(frozen=True)
class Volume:
    """All exchanges of a round.

    Attributes:
      bytes: by purpose; of what happens once a chunk, a round's part.
      exchanges: separate operations, each of which waits for the slowest device; likewise.
      bytes_a_block: by purpose, of what happens once a block; part of `bytes`.
      exchanges_a_block: likewise.
      kinds: of operations.
    """

    bytes: dict[str, float]
    exchanges: float
    bytes_a_block: dict[str, float]
    exchanges_a_block: int
    kinds: tuple[str, ...]

    @property
    def total(self) -> float:
        """Bytes of a round."""
        return sum(self.bytes.values())


def volume(runtime: SimulatedRuntime, blocks: int = 1) -> Volume:
    """What a round of so many blocks exchanges; a round whose episodes fit the devices' memory has one."""
    exchanges = [e for e in read(runtime.chunk.text()) if {purpose for purpose, _ in e.parts} != {"evaluation"}]
    of_block = [e for e in exchanges if e.loops == 2]
    passes = (1 / runtime.config.training.chunk, 1, blocks)
    bytes_a_round = _bytes(exchanges, passes)
    return Volume(
        bytes={name: bytes_a_round[name] for name in sorted(bytes_a_round)},
        exchanges=sum(e.times * passes[e.loops] for e in exchanges),
        bytes_a_block=_bytes(of_block, (0, 0, 1)),
        exchanges_a_block=sum(e.times for e in of_block),
        kinds=tuple(sorted({e.kind for e in exchanges})),
    )


def read(text: str) -> Iterator[Exchange]:
    """The exchanges of a chunk's program. A loop of which XLA knows how often it runs multiplies what is in it."""
    computations, frames = _computations(text), _Frames(text)
    for name, (times, loops) in _visits(text, computations).items():
        for index, line in enumerate(computations[name]):
            if found := _COLLECTIVE.search(line):
                parts = tuple(_parts(computations[name], index, found.start(), frames))
                yield Exchange(found[1], parts, times, loops)


def _bytes(exchanges: list[Exchange], passes: tuple[float, ...]) -> dict[str, float]:
    """By purpose, where loops run so often."""
    bytes_of: dict[str, float] = collections.defaultdict(float)
    for exchange in exchanges:
        for purpose, size in exchange.parts:
            bytes_of[purpose] += size * exchange.times * passes[exchange.loops]
    return dict(bytes_of)


def _computations(text: str) -> dict[str, list[str]]:
    """Instructions of each computation, by its name."""
    computations: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            lines = computations[header[1]] = []
        elif _INSTRUCTION.match(line):
            lines.append(line)
    return computations


def _visits(text: str, computations: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    """How often each computation runs in a pass of the loops that XLA does not know, and how many those are."""
    entry = next(line for line in text.splitlines() if line.startswith("ENTRY "))
    visits: dict[str, tuple[int, int]] = collections.defaultdict(lambda: (0, 0))

    def visit(name: str, times: int, loops: int) -> None:
        before, _ = visits[name]
        visits[name] = (before + times, loops)
        for line in computations[name]:
            loop = " while(" in line
            known = _TRIPS.search(line)
            passes = int(known[1]) if loop and known else 1
            for called in _CALLED.findall(line):
                for inner in re.findall(r"%([^\s,{}]+)", called):
                    visit(inner, times * passes, loops + (loop and not known))

    found = _COMPUTATION.match(entry)
    assert found
    visit(found[1], 1, 0)
    return dict(visits)


def _parts(lines: list[str], index: int, end: int, frames: "_Frames") -> Iterator[tuple[str, int]]:
    """Purpose and bytes of each array of an exchange, from those who use its results."""
    line = lines[index]
    found = _INSTRUCTION.match(line)
    assert found
    elements = {}
    for later in lines[index:]:
        used = _ELEMENT.search(later)
        if used and used[1] == found[1]:
            elements[int(used[2])] = later
    for number, (dtype, shape) in enumerate(_ARRAY.findall(line[:end])):
        sizes = [int(n) for n in shape.split(",") if n]
        purpose = frames.purpose(elements.get(number, line))
        if purpose == "gradient" and len(sizes) < 2:
            purpose = "weight"  # a number of each run; parameters have axes besides
        yield purpose, _BYTES[dtype] * math.prod(sizes)


class _Frames:
    """The stacks of calls that instructions were traced in."""

    def __init__(self, text: str):
        self._functions = {int(i): name for i, name in _rows(text, "FunctionNames", r'(\d+) "(.*)"')}
        place = r"(\d+) \{.*?function_name_id=(\d+) .*"
        self._places = {int(i): int(function) for i, function in _rows(text, "FileLocations", place)}
        frame = r"(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)\}"
        # Parents are written with 1 added, so that 1 is no parent.
        self._frames = {int(i): (int(at), int(up) - 1) for i, at, up in _rows(text, "StackFrames", frame)}

    def purpose(self, line: str) -> str:
        """What the innermost function that has one is for."""
        known = _FRAME.search(line)
        frame = int(known[1]) if known else 0
        while frame in self._frames:
            place, frame = self._frames[frame]
            if purpose := _PURPOSES.get(self._functions[self._places[place]]):
                return purpose
        return "other"


def _rows(text: str, table: str, row: str) -> list[tuple[str, ...]]:
    found = re.search(rf"^{table}\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^{row}$", found[1], re.MULTILINE) if found else []
