"""A policy as an ONNX model, for runtimes that know neither Python nor JAX."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nigt_jax.errors import UserError
from nigt_jax.runs._trained import TrainedPolicy

MODEL = "policy.onnx"


def onnx_exporter() -> Callable[..., Any]:
    """What turns functions of JAX into models. UserError where it is not installed."""
    try:
        with _quiet():
            from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(f"onnx: jax2onnx cannot be imported ({error}), allowed: pip install 'nigt_jax[onnx]'") from None
    return to_onnx


def write_onnx(trained: TrainedPolicy, folder: Path) -> None:
    """Writes the policy without noise: observations of shape [B, obs] to actions."""
    export = onnx_exporter()
    with _quiet():
        export(
            trained.mode,
            inputs=[("B", trained.policy.observation_size)],
            input_names=["observation"],
            output_names=["action"],
            model_name="policy",
            return_mode="file",
            output_path=str(folder / MODEL),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters tell at length of operations that this policy does not have."""
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
