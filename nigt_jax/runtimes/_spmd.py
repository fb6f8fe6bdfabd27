"""One program on many devices: a per-device function over a named axis, replicated state in and out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nigt_jax.collectives import AXIS
from nigt_jax.compilation import compile_options, peak_bytes
from nigt_jax.rollout import environments_traced_once


class Spmd:
    """Maps per-device functions over the axis ``devices``, by pmap or by shard_map, to the same numbers.

    Devices either share one run: every argument and result is replicated, a device finds its own share of the work by
    its index on the axis, and what devices find out apart they have to reduce themselves. Or they have runs of their
    own: what has an axis of runs is split, and devices have nothing to tell each other.

    Attributes:
      kind: pmap or shard_map.
      devices: the devices of the axis.
      apart: whether devices have runs of their own.
    """

    def __init__(self, kind: str, devices: list[jax.Device], apart: bool = False):
        self.kind = kind
        self.devices = devices
        self.apart = apart
        self._mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))

    def replicate(self, tree: Any) -> Any:
        """The tree on every device, in arrays that a mapped function takes and may overwrite."""
        return _put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def place(self, tree: Any) -> Any:
        """A tree with a leading axis of runs where a mapped function expects it."""
        if not self.apart:
            return self.replicate(tree)
        split = jax.tree.map(lambda x: x.reshape(len(self.devices), -1, *x.shape[1:]), tree)
        return _put(split, NamedSharding(self._mesh, PartitionSpec(AXIS)))

    def collect(self, tree: Any, axis: int = 0) -> Any:
        """What a mapped function gave, on the host; `axis` is where each device has its runs."""
        tree = jax.device_get(tree)
        if not self.apart:
            return tree
        return jax.tree.map(lambda x: np.concatenate(list(x), axis), tree)

    def compile(
        self,
        function: Callable,
        of_runs: tuple,
        shared: tuple = (),
        donate_first: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> "Program":
        """A program of ``function(*of_runs, *shared)``.

        Args:
          function: the function of one device.
          of_runs: arguments with an axis of runs, as `place` gives them; so is the result.
          shared: arguments that every device has.
          donate_first: whether the first argument is used up.
          options: XLA's options, other than those that suit the platform.
        """
        numbers = self._numbers()
        mapped = (self._pmapped if self.kind == "pmap" else self._shard_mapped)(
            function, len(of_runs), len(shared), (1,) if donate_first else ()
        )
        chosen = compile_options(self.devices[0].platform) if options is None else dict(options)
        with environments_traced_once():
            lowered = mapped.lower(numbers, *of_runs, *shared)
        return Program(lowered.compile(compiler_options=chosen), numbers)

    def export(
        self, function: Callable, of_runs: tuple, shared: tuple = (), *, platforms: Sequence[str]
    ) -> jax.export.Exported:
        """What :meth:`compile` would compile by shard_map on devices of other platforms; nothing is compiled.

        Args:
          function: the function of one device.
          of_runs: arguments with an axis of runs, or their shapes.
          shared: arguments that every device has, or their shapes.
          platforms: those of :mod:`jax.export`, such as ``cuda`` and ``tpu``.
        """
        mapped = self._shard_mapped(function, len(of_runs), len(shared), ())
        with environments_traced_once():
            return jax.export.export(mapped, platforms=platforms)(self._numbers(), *of_runs, *shared)

    def _numbers(self) -> jax.Array:
        """What pmap wants: something that is split. Nobody reads it."""
        return _put(np.arange(len(self.devices), dtype=np.int32), NamedSharding(self._mesh, PartitionSpec(AXIS)))

    def _pmapped(self, function: Callable, of_runs: int, shared: int, donate: tuple[int, ...]) -> Any:
        mine = 0 if self.apart else None
        return jax.pmap(
            lambda number, *args: function(*args),
            AXIS,
            in_axes=(0, *[mine] * of_runs, *[None] * shared),
            out_axes=mine,
            donate_argnums=donate,
            devices=self.devices,
        )

    def _shard_mapped(self, function: Callable, of_runs: int, shared: int, donate: tuple[int, ...]) -> Any:
        split, whole = PartitionSpec(AXIS), PartitionSpec()
        mine = split if self.apart else whole

        def call(number: Any, *arguments: Any) -> Any:
            del number
            if not self.apart:
                return function(*arguments)
            # An axis of length one is left where pmap takes it away.
            own = jax.tree.map(lambda x: x[0], arguments[:of_runs])
            return jax.tree.map(lambda x: x[None], function(*own, *arguments[of_runs:]))

        specs = (split, *[mine] * of_runs, *[whole] * shared)
        mapped = jax.shard_map(call, mesh=self._mesh, in_specs=specs, out_specs=mine, check_vma=False)
        return jax.jit(mapped, donate_argnums=donate)


class Program:
    """A compiled program, for arguments of the same shapes in the same places. It never compiles again."""

    def __init__(self, compiled: Any, numbers: jax.Array):
        self._compiled = compiled
        self._numbers = numbers

    def __call__(self, *arguments: Any) -> Any:
        """What the mapped function makes of them."""
        return self._compiled(self._numbers, *arguments)

    def text(self) -> str:
        """The program in XLA's own language."""
        return self._compiled.as_text()

    def peak_bytes(self) -> int:
        """Memory that it takes; see :func:`nigt_jax.compilation.peak_bytes`."""
        return peak_bytes(self._compiled)


def _put(tree: Any, sharding: NamedSharding) -> Any:
    """What this process has, on its devices of the sharding; every process calls it with the same numbers."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(x: Any) -> jax.Array:
        # Not by device_put, which has all processes compare what they have, and so waits for them.
        places = sharding.addressable_devices_indices_map(x.shape)
        pieces = [jax.device_put(x[place], device) for device, place in places.items()]
        return jax.make_array_from_single_device_arrays(x.shape, sharding, pieces)

    return jax.tree.map(put, jax.device_get(tree))
