"""Runs that were killed at any place of their writing go on to the same numbers: nothing that was computed is lost."""

import os
import re
import threading

import jax
import pytest
from probes import Quadratic
from short_runs import config
from writing import content, left_behind

from nigt_jax.config import load_config
from nigt_jax.records import create_run, make_whole, open_run
from nigt_jax.runs import _train, load_policy, train

CONFIG = config(
    estimator="return_to_go",
    training={"iterations": 9, "chunk": 3, "devices": 1},
    evaluation={"every": 3, "episodes": 4},
    checkpoint={"every": 3, "keep": 1, "keep_best": True},
)
PLACES = [
    "half config.yaml.new 1",
    "rename run.json 1 half written",
    "half metrics.jsonl 3",
    "open best/policy.json.new 1",
    "rename best/policy.json 3",
    "rename checkpoints/N.orbax-checkpoint-tmp/state 3 half written",
    "half checkpoints/N/sha256.new 3",
    "rmdir checkpoints/N/state/d 2",
]


def uninterrupted(folder):
    train(CONFIG, folder, environment=Quadratic())


def go_on(folder):
    """As its user does."""
    own = load_config(folder / "config.yaml") if (folder / "config.yaml").exists() else CONFIG
    train(own, folder, environment=Quadratic(), resume=True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What a run leaves in the end, and where it was killed."""
    folder, copies = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    return folder, left_behind(lambda: uninterrupted(folder), folder, copies)


@pytest.mark.parametrize("place", PLACES)
def test_goes_on_to_the_same_numbers(killed, place):
    whole, left = killed
    go_on(left[place])
    assert content(left[place]) == content(whole)


@pytest.mark.slow
def test_goes_on_from_everywhere(killed):
    """The last of each kind of place, which has the most before it."""
    whole, left = killed
    last = {re.sub(r" [0-9]", "", place): place for place in left}
    assert len(last) > 50
    for place in set(last.values()) - set(PLACES):
        jax.clear_caches()  # or there is a program of every one of them
        go_on(left[place])
        assert content(left[place]) == content(whole), place


def test_a_second_ctrl_c_while_the_best_policy_is_written(killed, tmp_path, monkeypatch):
    """The checkpoint that is written then is of the evaluation whose policy is not there yet."""
    whole, write = killed[0], _train.write_policy
    best = load_policy(whole / "best").iteration

    def interrupted(policy, *where):
        if policy.iteration == best:
            raise KeyboardInterrupt
        write(policy, *where)

    monkeypatch.setattr(_train, "write_policy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        uninterrupted(tmp_path)
    monkeypatch.setattr(_train, "write_policy", write)
    go_on(tmp_path)
    assert content(tmp_path) == content(whole)


def test_a_new_run_is_there_with_its_configuration_or_not_at_all(tmp_path):
    runs = tmp_path / "runs"
    left = left_behind(lambda: create_run(runs, "run", "run", CONFIG), runs, tmp_path, occurrences=(1,))
    assert len(left) > 5
    for folder in left.values():
        if (folder / "run").exists():
            open_run(folder / "run")
        else:  # its user types the same again
            create_run(folder, "run", "run", CONFIG)


def test_runs_that_are_made_at_once(tmp_path):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(create_run(tmp_path, None, "run", CONFIG))) for _ in "12345678"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folder.path.name for folder in made) == [f"run-{k:03d}" for k in range(1, 9)]
    assert all(folder.config.is_file() for folder in made)
    assert len(list(tmp_path.iterdir())) == 8


def test_another_process_that_is_quicker_is_left_alone(tmp_path, monkeypatch):
    """Its folder is there between the look and the rename, which says so in its own way."""
    (tmp_path / "run" / "theirs").mkdir(parents=True)
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    with pytest.raises(FileExistsError):
        make_whole(tmp_path, "run", "run", lambda path: (path / "ours").mkdir())
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "theirs"]
