"""A run that starts with another one's policy keeps a copy of it, which nobody changes behind its back."""

import shutil
from pathlib import Path

from nigt_jax.config import Config
from nigt_jax.policies import ABOUT, ARRAYS
from nigt_jax.records import RunFolder, open_run, with_start
from nigt_jax.runs._policy_files import write_policy
from nigt_jax.runs._shipped import load_policy


def keep_start(config: Config, folder: RunFolder) -> Config:
    """The configuration with the run's own copy of the policy that it starts with.

    Raises:
      UserError: ``policy.start`` is no run, or has no checkpoint; or its network is one of the user's own.
      OSError: it cannot be copied.
    """
    if config.policy.start is None:
        return config
    given = Path(config.policy.start)
    if given.resolve() != folder.start.resolve():
        if (given / ABOUT).is_file():
            folder.start.mkdir(exist_ok=True)
            for name in (ABOUT, ARRAYS):
                shutil.copyfile(given / name, folder.start / name)
        else:
            write_policy(load_policy(given), open_run(given, check_files=False)[1], folder.start)
    return with_start(config, str(folder.start))
