"""Full-state checkpoints by Orbax: complete or absent, the last few kept."""

import contextlib
import hashlib
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from nigt_jax.errors import RunWarning, UserError
from nigt_jax.files import MOST_NOTES, read_bytes
from nigt_jax.keys import with_keys, without_keys
from nigt_jax.records._whole import write_whole

_DIGESTS = "sha256"
_BYTES = 4  # of a number, nearly always


class Checkpoints:
    """The checkpoints of one run: a state (any tree of arrays, keys too) and notes (plain JSON).

    Args:
      path: folder; made if absent.
      keep: how many to keep, the newest.
      iteration: of which one to read; the newest where it is None.

    Attributes:
      path: the folder.

    Raises:
      UserError: the folder's name is not in UTF-8, which is all that Orbax can write to.
      OSError: the folder cannot be made.
    """

    def __init__(self, path: Path, keep: int, iteration: int | None = None):
        self.path, self._keep, self._iteration = path, keep, iteration
        self._damaged: set[int] = set()
        _refuse_undecoded(path.absolute())
        alone = _alone()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=False, create=False, multiprocessing_options=alone
        )
        path.mkdir(parents=True, exist_ok=True)
        with _as_os_error(path):
            self._manager = ocp.CheckpointManager(path.absolute(), options=options)
        # A manager that has restored a part of a state refuses to save a whole one.
        self._partial = ocp.Checkpointer(
            ocp.PyTreeCheckpointHandler(multiprocessing_options=alone), multiprocessing_options=alone
        )

    @property
    def latest(self) -> int | None:
        """Iteration of the newest complete checkpoint, or None; damage counts once :meth:`go_back` has found it."""
        return max(self.all, default=None)

    @property
    def all(self) -> list[int]:
        """Iterations of all complete checkpoints, in order."""
        return sorted(set(self._manager.all_steps()) - self._damaged)

    def go_back(self) -> None:
        """Makes the newest checkpoint that is as it was written the latest, and warns where that is an older one.

        Nothing is touched before the next one is saved. Then what is damaged is put aside, into ``damaged`` beside the
        folder.

        Raises:
          UserError: there are checkpoints, and all are damaged.
        """
        first = None
        while (latest := self.latest) is not None and (why := self._damage(latest)) is not None:
            first = first or f"{self.path / str(latest)}: this checkpoint cannot be read: {why}"
            self._damaged.add(latest)
        if first is None:
            return
        if latest is None:
            older = "there is no older one" if len(self._damaged) == 1 else "neither can any older one"
            raise UserError(f"{first}; {older}")
        warnings.warn(
            f"{first}; goes back to iteration {latest}, and what came after it is computed again",
            RunWarning,
            stacklevel=3,
        )

    def save(self, iteration: int, state: Any, notes: dict[str, Any]) -> None:
        """Writes a checkpoint, to a temporary folder that is renamed when it is whole; completes it if it is there.

        Raises:
          OSError: it cannot be written.
        """
        if iteration != self.latest:
            self._put_aside({*self._damaged, iteration})
            items = ocp.args.Composite(
                state=ocp.args.StandardSave(jax.device_get(without_keys(state))), notes=ocp.args.JsonSave(notes)
            )
            with _as_os_error(self.path):
                if not self._manager.save(iteration, args=items):
                    raise FileExistsError(None, "newer checkpoints are there already", str(self.path))
        self._complete()

    def _complete(self) -> None:
        """None beyond `keep`, and digests of all: a process that was killed may not have come to either."""
        with _as_os_error(self.path):
            for step in self.all[: -self._keep]:
                self._manager.delete(step)
        for step in self.all:
            folder = self.path / str(step)
            if not (folder / _DIGESTS).exists():
                lines = (f"{digest}  {name}\n" for name, digest in _digested(folder).items())
                write_whole(folder / _DIGESTS, "".join(lines))

    def _put_aside(self, iterations: Set[int]) -> None:
        """Moves what is damaged out of the way of what will be saved: what is complete, or looks like it, is kept."""
        there = [self.path / str(iteration) for iteration in sorted(iterations)]
        for path in filter(Path.exists, there):
            aside = self.path.parent / "damaged" / path.name
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside)
            self._manager.reload()
        self._damaged.clear()

    def notes(self) -> dict[str, Any]:
        """The notes of the newest checkpoint. UserError where it is damaged."""
        args = ocp.args.Composite(notes=ocp.args.JsonRestore())
        notes = self._read(lambda step: self._manager.restore(int(step.name), args=args))["notes"]
        if not isinstance(notes, dict):
            raise self.unreadable("its notes are none of a run")
        return notes

    def state(self, like: Any, optional: Set[str] = frozenset()) -> Any:
        """The state of the newest checkpoint, with the structure, shapes and dtypes of `like`.

        Args:
          like: the state.
          optional: names of leaves that are not in the checkpoints of all versions. Where one is missing, it is as in
            `like`; where `like` has none, it is left out.

        Raises:
          UserError: it is damaged, or holds something else.
        """
        bare, tree = without_keys(like), self.shapes()
        saved = _leaves(tree)
        leaves = {path: x for path, x in _leaves(bare).items() if path in saved or path[-1] not in optional}
        needed = {path: x for path, x in saved.items() if path in leaves or path[-1] not in optional}
        if {path: tuple(x.shape) for path, x in leaves.items()} != {path: tuple(x.shape) for path, x in needed.items()}:
            raise self.unreadable("does not hold what this run needs", whole=self._digests.exists())
        found = _leaves(self._restored(_nested(leaves), tree))
        return with_keys(jax.tree_util.tree_map_with_path(lambda path, x: found.get(_names(path), x), bare), like)

    def fields(self, like: dict[str, Any]) -> dict[str, Any]:
        """Some fields of the state of the newest checkpoint, as :meth:`state` gives the whole; no keys among them."""
        return self._restored(like, self.shapes())

    def _restored(self, like: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
        """Fields of a checkpoint whose digests were compared when its shapes were read: they are of every byte."""
        if not _fits(like):
            raise self.unreadable("it claims to hold more than this machine has memory", whole=True)
        target = _target(_as_saved(like, saved))
        each = ocp.checkpoint_utils.construct_restore_args(target)
        args = ocp.args.PyTreeRestore(item=target, restore_args=each, partial_restore=True)
        return self._attempt(lambda step: self._partial.restore(step / "state", args=args))

    def shapes(self) -> dict[str, Any]:
        """The state of the newest checkpoint as nested mappings from names, whose leaves have a ``shape``.

        Raises:
          UserError: it is damaged.
        """
        self._refuse_damage()
        try:
            return ocp.PyTreeCheckpointHandler().metadata(self._step.absolute() / "state").tree
        except Exception as error:  # as where a state is restored
            raise self.unreadable("does not say what it holds") from error

    def close(self) -> None:
        """Releases what Orbax holds."""
        self._manager.close()
        self._partial.close()

    def _read(self, read: Callable[[Path], Any]) -> Any:
        self._refuse_damage()
        return self._attempt(read)

    def _attempt(self, read: Callable[[Path], Any]) -> Any:
        try:
            return read(self._step.absolute())
        except Exception as error:  # Orbax and what it stands on raise anything for a state that does not fit
            raise self.unreadable("does not hold what this run needs", whole=self._digests.exists()) from error

    @property
    def _step(self) -> Path:
        """The folder of the checkpoint that is read."""
        return self.path / str(self.latest if self._iteration is None else self._iteration)

    @property
    def _digests(self) -> Path:
        """Of every file of the checkpoint that is read, as ``sha256sum --check`` reads them."""
        return self._step / _DIGESTS

    def _refuse_damage(self) -> None:
        """UserError where a file is not as it was written: Orbax reads some damage as numbers, and chokes on other."""
        why = _difference(self._step)
        if why is not None:
            raise self.unreadable(why)

    def _damage(self, iteration: int) -> str | None:
        """Why a checkpoint is not whole; None where it is.

        One without digests is whole if all of it can be read. A process that died before it wrote them has left a
        checkpoint that is complete; a machine that lost its power may have left anything.
        """
        step = (self.path / str(iteration)).absolute()
        if (step / _DIGESTS).exists():
            return _difference(step)
        try:
            self._manager.restore(iteration, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))
            shapes = ocp.PyTreeCheckpointHandler().metadata(step / "state").tree
            if not _fits(shapes):
                return "it claims to hold more than this machine has memory"
            plain = jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray), shapes, is_leaf=_has_shape)
            self._partial.restore(step / "state", args=ocp.args.PyTreeRestore(restore_args=plain))
        except Exception:  # Orbax and what it stands on raise anything
            return "it is not complete"
        return None

    def unreadable(self, why: str, whole: bool = False) -> UserError:
        """What to raise where the newest checkpoint cannot be used, and what to do about it.

        Args:
          why: it cannot.
          whole: whether its files are known to be as they were written. Then nobody is told to do without it.
        """
        older = max((step for step in self.all if step < int(self._step.name)), default=None)
        if older is None:
            instead = "there is no older one"
        elif whole:
            instead = "its files are as they were written, so keep it for the version that wrote it"
        else:
            instead = f"the one before it is of iteration {older}, to which --resume goes back"
        return UserError(f"{self._step}: this checkpoint cannot be read: {why}; {instead}")


def _digested(folder: Path) -> dict[str, str]:
    """The digest of every file of a checkpoint, by its path in it."""
    own = (folder / _DIGESTS, folder / f"{_DIGESTS}.new")  # the other one is half written by a process that was killed
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p not in own):
        with path.open("rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _difference(step: Path) -> str | None:
    """Which file of a checkpoint is not as its digest says, if any is, or there are no digests."""
    digests = step / _DIGESTS
    if not digests.exists():
        return None
    try:
        found = _digested(step)
        wanted = [line.split("  ", 1) for line in read_bytes(digests, MOST_NOTES).decode(errors="replace").splitlines()]
    except OSError as error:
        return error.strerror or "cannot be opened"
    for digest, *name in wanted:
        if not name or found.get(name[0]) != digest:
            return f"{name[0] if name else digests.name} is not as it was written"
    return None if wanted else f"{digests.name} is not as it was written"


def _refuse_undecoded(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{str(path)!a}: is not a name in UTF-8, so no checkpoint can be written there") from None


def _alone() -> Any:
    """Has Orbax wait for no other process: of a job in lockstep, only the one that leads reads and writes."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process {own}"
    )


@contextlib.contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """Raises what the operating system said as what it is; Orbax's storage wraps it into a ValueError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        number = int(code[1])
        raise OSError(number, os.strerror(number), str(path)) from error


def _target(like: Any) -> Any:
    """What to restore, on a device of this process, wherever it was saved."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), like)


def _names(path: Any) -> tuple[str, ...]:
    """Of the nodes on the way to a leaf: the same in a NamedTuple as in the mapping that Orbax makes of it."""
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def _fits(tree: Any) -> bool:
    """Whether arrays of these shapes fit into the memory of this machine: whoever wrote them may claim anything."""
    needed = sum(math.prod(x.shape) * _BYTES for x in jax.tree.leaves(tree, is_leaf=_has_shape) if _has_shape(x))
    return needed <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _has_shape(x: Any) -> bool:
    return hasattr(x, "shape")


def _leaves(tree: Any) -> dict[tuple[str, ...], Any]:
    found = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_has_shape)[0]
    return {_names(path): x for path, x in found}


def _as_saved(like: Any, saved: Any) -> Any:
    """Mappings from names as the nodes that were saved: Orbax restores a sequence, as Optax has, no other way."""
    if isinstance(saved, list) and isinstance(like, Mapping):
        return [_as_saved(like.get(str(place)), own) for place, own in enumerate(saved)]
    if isinstance(saved, Mapping) and isinstance(like, Mapping):
        return {name: _as_saved(own, saved.get(name)) for name, own in like.items()}
    return like


def _nested(leaves: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """The tree of these leaves, of nothing but mappings."""
    tree: dict[str, Any] = {}
    for path, x in leaves.items():
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = x
    return tree
