"""A process that another one has started to follow it; see ``_join.py``."""

from nigt_jax.runtimes.lockstep._follow import follow_until_the_end

if __name__ == "__main__":
    raise SystemExit(follow_until_the_end())
