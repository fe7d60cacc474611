"""Ray's workers on a cluster of two nodes: the local engine's bytes, also when one is killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from facestudio.data import ray_engine
from facestudio.data.jobs import Job
from facestudio.data.prepare import plan, prepare
from facestudio.data.ray_engine import RayWorkers
from facestudio.errors import MissingWeights, OutOfMemory
from tests.data.parts import DeadlyPart
from tests.data.test_engines import shards_of

pytestmark = [
    pytest.mark.ray,
    # Ray's own: sockets and log files that it leaves to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each on this machine, which `ray` is connected to."""
    ray = pytest.importorskip("ray", reason="needs the extra facestudio[ray] (make test-ray)")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_two_nodes_write_the_local_engines_bytes(cluster, settings):
    report = prepare(settings)
    far = replace(settings, out=settings.out.with_name("far"), engine="ray")
    assert prepare(far).counts() == report.counts()
    one, two = shards_of(settings.out), shards_of(far.out)
    assert one.keys() == two.keys()
    for name in one.keys() - {"dataset.json"}:
        assert one[name] == two[name], name


def test_a_set_begun_by_one_engine_is_ended_by_the_other(cluster, settings):
    prepare(settings)
    (settings.out / "000-00000.json").unlink()
    assert prepare(replace(settings, engine="ray")).skipped_shards == 1


def deadly(job: Job, met: Path, always: bool = False) -> Job:
    return replace(job, part=DeadlyPart(met, job.part, always))


def test_a_worker_killed_in_the_middle_loses_nothing(cluster, settings, tmp_path):
    prepare(settings)
    jobs = plan(settings)
    out = tmp_path / "survived"
    out.mkdir()
    engine = RayWorkers(settings.develop, 1)
    done = list(engine.run([deadly(jobs[0], tmp_path / "met"), *jobs[1:]], out))
    engine.close()
    assert (tmp_path / "met").exists()
    assert sorted(done) == [job.name for job in jobs]
    wanted = shards_of(settings.out)
    del wanted["dataset.json"]
    assert shards_of(out) == wanted


def test_a_shard_that_always_kills_ends_the_run(cluster, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "RETRIES", 1)
    engine = RayWorkers(settings.develop, 1)
    job = deadly(plan(settings)[0], tmp_path / "met", always=True)
    with pytest.raises(OutOfMemory, match="died 2 times"):
        list(engine.run([job], tmp_path))
    engine.close()


def test_a_workers_own_error_arrives_as_it_was(cluster, settings, tmp_path):
    wrong = replace(settings, develop=replace(settings.develop, codec=tmp_path / "none"))
    with pytest.raises(MissingWeights, match="holds no codec") as caught:
        prepare(replace(wrong, engine="ray", out=tmp_path / "wrong"))
    assert "train codec" in caught.value.hint
