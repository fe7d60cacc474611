"""Engines of prepare: the same bytes from each, no load too many, and no worker outlives a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from facestudio.data import develop as module
from facestudio.data import engines
from facestudio.data.engines import LocalProcesses, ThisProcess, start_engine
from facestudio.data.jobs import Job, SourceSettings, do_job
from facestudio.data.prepare import plan, prepare
from facestudio.errors import MissingWeights, OutOfMemory
from tests.data.parts import DeadlyPart

ROOT = Path(__file__).parents[2]
SLEEPY = """
import sys
from pathlib import Path
from facestudio.data.develop import DeveloperSettings
from facestudio.data.engines import LocalProcesses
from facestudio.data.jobs import Job, SourceSettings
from tests.data.parts import SleepyPart

if __name__ == "__main__":
    out = Path(sys.argv[1])
    jobs = [Job(f"{i}", SourceSettings(out), SleepyPart(out / f"pid-{i}")) for i in range(2)]
    list(LocalProcesses(DeveloperSettings(), 2, 1).run(jobs, out))
"""


def shards_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every file but the reports."""
    kinds = (".safetensors", ".json", ".left_out")
    files = [p for p in folder.iterdir() if p.suffix in kinds and p.name != "report.json"]
    return {path.name: path.read_bytes() for path in sorted(files)}


def test_several_processes_write_the_same_bytes(settings):
    prepare(settings)
    both = replace(settings, out=settings.out.with_name("both"), processes=2)
    prepare(both)
    one, two = shards_of(settings.out), shards_of(both.out)
    assert len(one) == 7
    assert one.keys() == two.keys()
    for name in one.keys() - {"dataset.json"}:  # which names the folder
        assert one[name] == two[name], name


def test_doing_a_job_twice_writes_the_same_bytes(settings, tmp_path):
    developer = ThisProcess(settings.develop).developer
    job, _ = plan(settings)
    written = []
    for _ in range(2):
        do_job(job, tmp_path, developer)
        written.append((tmp_path / f"{job.name}.safetensors").read_bytes())
    assert written[0] == written[1]


def test_the_identity_encoder_is_loaded_once(settings, monkeypatch):
    loaded = []
    real = module.load_identity_encoder
    monkeypatch.setattr(
        module, "load_identity_encoder", lambda spec: loaded.append(spec) or real(spec)
    )
    prepare(settings)
    assert len(loaded) == 1
    prepare(settings)  # nothing is left to do
    assert len(loaded) == 1


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    program = tmp_path / "sleepy.py"
    program.write_text(SLEEPY)
    paths = os.pathsep.join([str(ROOT), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, program, tmp_path], env={**os.environ, "PYTHONPATH": paths}
    )
    workers = [int(wait_for(tmp_path / f"pid-{i}")) for i in range(2)]
    assert all(is_alive(worker) for worker in workers)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while any(is_alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(worker) for worker in workers)


def wait_for(path: Path) -> str:
    """The text of a file that a worker writes."""
    deadline = time.monotonic() + 120
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline, f"{path.name} was not written"
        time.sleep(0.05)
    return path.read_text()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_dead_local_worker_says_what_is_kept(tmp_path):
    engine = LocalProcesses(module.DeveloperSettings(), 2, 1)
    jobs = [Job("0", SourceSettings(tmp_path), DeadlyPart(tmp_path / "met", always=True))]
    with pytest.raises(OutOfMemory, match="finished shards are kept"):
        list(engine.run(jobs, tmp_path))
    engine.close()


def test_ray_that_is_not_installed_is_named(monkeypatch):
    from facestudio.data import ray_engine

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(ray_engine, "import_module", absent)
    with pytest.raises(MissingWeights, match=r"needs the package ray.*facestudio\[ray\]"):
        start_engine("ray", module.DeveloperSettings(), 1, 1)


def test_one_process_needs_no_other(settings):
    assert isinstance(start_engine("local", settings.develop, 1, 1), engines.ThisProcess)
