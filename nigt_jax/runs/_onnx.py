"""A policy as an ONNX model, for runtimes that know neither Python nor JAX."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nigt_jax.imports import imported, quiet
from nigt_jax.runs._trained import TrainedPolicy

MODEL = "policy.onnx"


def onnx_exporter() -> Callable[..., Any]:
    """What turns functions of JAX into models. UserError where it is not installed."""
    with imported("jax2onnx", "onnx", "onnx"):
        from jax2onnx import to_onnx
    return to_onnx


def write_onnx(trained: TrainedPolicy, folder: Path) -> None:
    """Writes the policy without noise: observations of shape [B, obs] to actions."""
    export = onnx_exporter()
    with quiet():  # it tells at length of operations that this policy does not have
        export(
            trained.mode,
            inputs=[("B", trained.policy.observation_size)],
            input_names=["observation"],
            output_names=["action"],
            model_name="policy",
            return_mode="file",
            output_path=str(folder / MODEL),
        )
