"""What workers do at the beginning of a run, as a picture for a page. Plays their clock, so it needs JAX."""

import io

from nigt_jax.config import Config
from nigt_jax.records import Record
from nigt_jax.report._content import Picture, data_uri


def picture_of_workers(config: Config, last: Record, alt: str) -> Picture | None:
    """The timeline of a run's first rounds; None where it has too many gradients to draw.

    Args:
      config: the run's configuration.
      last: its newest record; a download of it tells how many parameters the policy has.
      alt: what the picture shows.
    """
    from nigt_jax.report._timeline import draw_timeline
    from nigt_jax.simulation import make_timeline

    parameters = max(1, last["bytes_down"] // max(last["downloads"], 1) // 4)
    timeline = make_timeline(config, parameters=parameters)
    if timeline is None:
        return None
    stream = io.BytesIO()
    draw_timeline(timeline, stream)
    return Picture(data_uri(stream.getvalue()), alt)
