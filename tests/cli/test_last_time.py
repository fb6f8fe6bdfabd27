"""How long compiling may take: what it took here the last time, and nothing made up."""

import json

import pytest

from nigt_jax.cli._last_time import LastTime
from nigt_jax.config import check_config


def config(**training):
    return check_config({"environment": {"name": "fast"}, "training": training})


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "nigt_jax"


def test_the_first_time_nothing_is_known():
    assert LastTime(config()).in_words().endswith("the first time")


def test_the_same_programs_are_loaded_and_others_of_the_environment_are_compiled():
    LastTime(config()).note(71.0)
    assert LastTime(config()).in_words() == "these programs are kept, which takes some seconds"
    assert LastTime(config(chunk=3)).in_words() == "others of this environment took 1m 11s the last time"
    LastTime(config()).note(4.0)
    assert LastTime(config()).in_words() == "these programs are kept, which took 4s the last time"
    assert LastTime(config(chunk=3)).in_words() == "others of this environment took 1m 11s the last time"
    other = check_config({"environment": {"name": "fast", "horizon": 7}})
    assert LastTime(other).in_words().endswith("the first time")


def test_a_traced_setting_does_not_make_other_programs():
    LastTime(config()).note(71.0)
    again = check_config({"environment": {"name": "fast"}, "method": {"learning_rate": 0.7}, "seed": 3})
    assert LastTime(again).in_words().startswith("these programs")


def test_where_records_go_does_not_make_other_programs():
    LastTime(config()).note(71.0)
    again = check_config({"environment": {"name": "fast"}, "logging": {"sinks": ["tensorboard"]}})
    assert LastTime(again).in_words().startswith("these programs")


def test_without_a_cache_nothing_is_kept(folder):
    LastTime(config(compilation_cache=False)).note(71.0)
    assert LastTime(config(compilation_cache=False)).in_words() == ""
    assert not (folder / "compile_seconds.json").exists()


@pytest.mark.parametrize("spoiled", ["{ torn", "null", "[1.0]", '{"a": "b"}', '{"a": NaN}'])
def test_a_file_that_cannot_be_read_is_as_if_absent(folder, spoiled):
    folder.mkdir()
    (folder / "compile_seconds.json").write_text(spoiled)
    assert LastTime(config()).in_words().endswith("the first time")
    LastTime(config()).note(5.0)
    assert 5.0 in json.loads((folder / "compile_seconds.json").read_text()).values()
