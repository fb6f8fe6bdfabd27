"""A run that starts with another one's policy keeps a copy of it, which nobody changes behind its back."""

import shutil
from pathlib import Path

from nigt_jax.config import Config
from nigt_jax.errors import UserError
from nigt_jax.policies import ABOUT, ARRAYS, Start
from nigt_jax.records import RunFolder, open_run, with_start
from nigt_jax.runs._policy_files import write_policy
from nigt_jax.runs._shipped import load_policy


def read_start(config: Config) -> Start | None:
    """The policy that ``policy.start`` names, None where it names none.

    Raises:
      UserError: there is no run and no exported policy, or it cannot be read.
    """
    if config.policy.start is None:
        return None
    if not Path(config.policy.start).is_dir():
        raise UserError(
            f"policy.start: got {config.policy.start}, which is no folder; allowed: that of a run, or one that "
            "nigt export has written"
        )
    try:
        trained = load_policy(config.policy.start)
    except UserError as error:
        raise UserError(f"policy.start: {error}") from None
    return Start(trained.policy, trained.model.params, trained.normalizer)


def keep_start(config: Config, folder: RunFolder) -> Config:
    """The configuration with the run's own copy of the policy that it starts with: there is one, and it can be read.

    Raises:
      UserError: its network is one of the user's own.
      OSError: it cannot be copied.
    """
    given = Path(str(config.policy.start))
    if given.resolve() != folder.start.resolve():
        if (given / ABOUT).is_file():
            folder.start.mkdir(exist_ok=True)
            for name in (ABOUT, ARRAYS):
                shutil.copyfile(given / name, folder.start / name)
        else:
            write_policy(load_policy(given), open_run(given, check_files=False)[1], folder.start)
    return with_start(config, str(folder.start))
