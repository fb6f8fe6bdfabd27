"""What a policy sees of a state, whose observation may be a mapping."""

import dataclasses
from collections.abc import Mapping
from typing import Any

SEEN = "state"  # as MuJoCo Playground calls the part that a policy sees


def observed(state: Any) -> Any:
    """The observation of a state, or of states side by side: ``obs``, or its part ``state`` where it is a mapping."""
    return state.obs[SEEN] if isinstance(state.obs, Mapping) else state.obs


def with_observed(state: Any, observation: Any) -> Any:
    """The same state with another observation."""
    whole = {**state.obs, SEEN: observation} if isinstance(state.obs, Mapping) else observation
    return state._replace(obs=whole) if hasattr(state, "_replace") else dataclasses.replace(state, obs=whole)
