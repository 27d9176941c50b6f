import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import pytest
import torch
from distributed import CancelledError, KilledWorker, LocalCluster

from glacierseg.errors import GlaciersegWarning, RasterError, RequestError
from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.cluster import Shares, connected, submitted
from glacierseg.predict.ensemble import load_ensemble
from glacierseg.predict.scene import begin_strips, predict_scene
from glacierseg.predict.stream import StripsFolder
from glacierseg.raster.scene import open_scene
from glacierseg.settings.predict import ClusterSettings, PredictSettings
from tests.helpers import write_scene

CARD = ModelCard(
    architecture="m_landsnet",
    width=0.125,
    bands=("red", "nir"),
    band_mean=(100.0, 90.0),
    band_std=(40.0, 50.0),
    patch_px=16,
)
SETTINGS = PredictSettings(batch_size=4, precision="float32")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "model", CARD.build(), CARD)
    return tmp_path / "model"


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(1, 250, (2, 700, 48)).astype(np.uint8)
    return write_scene(tmp_path / "valley.tif", values, ["red", "nir"])


def damaged_copy(scene: Path) -> Path:
    whole, copy = scene.read_bytes(), scene.with_name("damaged.tif")
    third = len(whole) // 3
    copy.write_bytes(whole[:third] + bytes(third) + whole[2 * third :])
    return copy


def test_a_cluster_names_a_damaged_scene_and_gives_the_bytes_of_one_process_though_a_worker_is_killed(
    model: Path, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tests in one, since workers that start and import torch take most of the time."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    alone = predict_scene(model, scene, tmp_path / "alone", SETTINGS)
    out, lost = tmp_path / "out", tmp_path / "lost"
    ensemble, opened, damaged = load_ensemble(model), open_scene(scene), open_scene(damaged_copy(scene))
    with connected(ClusterSettings(workers=2)) as client:
        twice = [damaged, replace(damaged, name="other")]
        with (
            pytest.raises(RasterError, match=r"damaged\.tif: .*truncated or damaged"),
            submitted(client, ensemble, twice, lost, SETTINGS) as (own, _),
        ):
            own.wait()
        assert not list(lost.glob("*.tif"))
        victims = list(client.run(os.getpid).values())
        assert len(victims) == 2

        def kill_one_at_work() -> None:
            while not list(out.glob(".*/strip-*.npy")):
                time.sleep(0.01)
            os.kill(victims[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_one_at_work, daemon=True)
        killer.start()
        shares: list[float] = []
        with submitted(client, ensemble, [opened], out, SETTINGS) as (own,):
            own.wait(shares.append)
            assert own.tasks == []
        killer.join(10)
        assert victims[0] not in client.run(os.getpid).values()
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert not list(out.glob("*.tif"))
    files = predict_scene(ensemble, opened, out, SETTINGS)
    assert files.probability.read_bytes() == alone.probability.read_bytes()
    assert files.mask.read_bytes() == alone.mask.read_bytes()


class AtOnce:
    """A cluster that does in this process what is submitted, before it says that it took it."""

    def submit(self, work: Callable[..., object], *arguments: object, pure: bool) -> SimpleNamespace:
        assert not pure
        assert work(*arguments) is None
        return SimpleNamespace(done=lambda: True)


def test_what_workers_made_of_a_link_is_that_of_the_link(model: Path, scene: Path, tmp_path: Path) -> None:
    link = tmp_path / "links" / "link.tif"
    link.parent.mkdir()
    link.symlink_to(scene)
    opened, out, ensemble = open_scene(link), tmp_path / "out", load_ensemble(model)
    with submitted(AtOnce(), ensemble, [opened], out, SETTINGS):
        folder, total, _ = begin_strips(ensemble, opened, out, SETTINGS)
        assert total > 1
        assert folder.missing(total) == []


def test_workers_that_die_again_and_again_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the workers come back each time, or one died before its start was seen and none is left."""
    monkeypatch.setattr("glacierseg.predict.cluster._WORKERS_BACK_WITHIN_S", 10.0)
    monkeypatch.setattr("glacierseg.predict.cluster._LOOK_FOR_WORKERS_EVERY_S", 0.5)
    folder = StripsFolder(tmp_path / "strips", {})

    def die(delay_s: float) -> None:  # in here it is sent as code: workers would import torch with this file
        time.sleep(delay_s)
        os._exit(137)

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        connected(ClusterSettings(workers=1)) as client,
    ):
        tasks = [client.submit(die, delay_s, pure=False) for delay_s in (0.0, 0.2)]
        with pytest.raises(RequestError, match=r"valley: .*workers died.*take fewer workers"):
            Shares("valley", tasks, folder, client).wait()


def test_a_worker_that_comes_back_on_closing_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`distributed` 2026.8 asserts in `AsyncProcess.join` that a process has started that is starting."""
    close = LocalCluster.close

    def assert_wrongly(self: Any, timeout: float | None = None) -> None:
        close(self, timeout)
        raise AssertionError("can only join a started process")

    monkeypatch.setattr(LocalCluster, "close", assert_wrongly)
    with pytest.raises(RequestError, match="workers died"), connected(ClusterSettings(workers=1)):
        raise RequestError("workers died")


class Task:
    """A future that has ended; its result may be lost again and again with the worker that has it."""

    def __init__(self, outcome: Exception | None = None, losses: int = 0) -> None:
        self.outcome = outcome
        self.losses = losses
        self.status = "finished" if outcome is None else "error"

    def done(self) -> bool:
        return True

    def result(self, timeout: float) -> None:
        assert timeout > 0
        if self.losses:
            self.losses -= 1
            raise TimeoutError
        if self.outcome is not None:
            raise self.outcome

    def release(self) -> None:
        pass


class Cluster:
    """A cluster whose workers are there or not, look by look; its tasks end with the last look, or before."""

    def __init__(self, *workers: int, local: bool, ended: bool = False) -> None:
        self.cluster = object() if local else None
        self.workers = list(workers)
        self.ended = ended

    def scheduler_info(self) -> dict[str, object]:
        return {"workers": dict.fromkeys(range(self.workers.pop(0)))}

    def wait(self, *_: object, **__: object) -> None:
        if self.workers and not self.ended:
            raise TimeoutError


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacierseg.predict.cluster._WORKERS_BACK_WITHIN_S", -1.0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("no more"), r"valley: a worker failed \(MemoryError: no more\)"),
        (TimeoutError("slow disk"), r"valley: a worker failed \(TimeoutError: slow disk\)"),
        (CancelledError("scheduler-connection-lost"), "valley: the cluster cancelled the work"),
        (KilledWorker("share", "worker", 3), "valley: workers died several times at the same strips"),
    ],
)
def test_a_task_that_fails_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    cluster = Cluster(local=True)
    monkeypatch.setattr("distributed.wait", cluster.wait)
    with pytest.raises(RequestError, match=words):
        Shares("valley", [Task(error)], StripsFolder(tmp_path / "strips", {}), cluster).wait()


@pytest.mark.usefixtures("impatient")
def test_work_ends_when_no_worker_of_this_machine_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(1, 1, 0, 1, local=True)
    monkeypatch.setattr("distributed.wait", cluster.wait)
    with pytest.raises(RequestError, match="valley: all workers died"):
        Shares("valley", [Task()], StripsFolder(tmp_path / "strips", {}), cluster).wait()
    assert cluster.workers == [1]


@pytest.mark.usefixtures("impatient")
def test_work_waits_for_new_workers_of_a_cluster_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(1, 0, 0, 0, 1, local=False)
    monkeypatch.setattr("distributed.wait", cluster.wait)
    done: list[float] = []
    with pytest.warns(GlaciersegWarning, match="valley: the cluster has no workers") as warned:
        Shares("valley", [Task(), Task()], StripsFolder(tmp_path / "strips", {}), cluster).wait(done.append)
    assert len(warned) == 1
    assert done == [0, 0, 0, 0, 0, 1]


def test_workers_that_come_back_in_time_are_not_spoken_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(1, 0, 0, 1, 0, local=True)
    monkeypatch.setattr("distributed.wait", cluster.wait)
    Shares("valley", [Task()], StripsFolder(tmp_path / "strips", {}), cluster).wait()
    assert cluster.workers == []


def test_a_result_that_went_with_its_worker_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(1, 0, local=True, ended=True)
    monkeypatch.setattr("distributed.wait", cluster.wait)
    done: list[float] = []
    tasks = [Task(losses=2), Task()]
    Shares("valley", tasks, StripsFolder(tmp_path / "strips", {}), cluster).wait(done.append)
    assert done == [0.5, 0.5, 1]


@pytest.mark.usefixtures("impatient")
def test_a_result_that_went_with_the_last_worker_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(1, 0, 1, local=True, ended=True)
    monkeypatch.setattr("distributed.wait", cluster.wait)
    with pytest.raises(RequestError, match="valley: all workers died"):
        Shares("valley", [Task(losses=9)], StripsFolder(tmp_path / "strips", {}), cluster).wait()
    assert cluster.workers == [1]


def test_wrong_requests_are_one_clear_line() -> None:
    with pytest.raises(RequestError, match="give one of the two"):
        ClusterSettings(dask="tcp://127.0.0.1:1", workers=2)
    nowhere = ClusterSettings(dask="nonsense")
    with pytest.raises(RequestError, match="nonsense: no Dask scheduler"), connected(nowhere):
        pass


def test_two_commands_may_have_workers_of_their_own_at_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with connected(ClusterSettings(workers=1)) as one, connected(ClusterSettings(workers=1)) as other:
            assert one.scheduler.address != other.scheduler.address


def test_ctrl_c_ends_the_command_while_workers_start_and_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(ClusterSettings(workers=1)) as client:
        client.run(signal.raise_signal, signal.SIGINT)
        assert client.submit(len, "ab").result() == 2
    start = LocalCluster.__init__

    def interrupted(self: Any, **given: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        start(self, **given)

    monkeypatch.setattr(LocalCluster, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt), connected(ClusterSettings(workers=1)):
        pytest.fail("went on")
