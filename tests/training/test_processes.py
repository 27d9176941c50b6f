"""Two processes train to the same result as one: proved in double precision, where rounding cannot hide."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from glacierseg.errors import RequestError
from glacierseg.training.fit import fit
from glacierseg.training.processes import (
    Processes,
    SynchronisedBatchNorm,
    find_processes,
    global_sum,
    process_count,
)
from tests.training.test_fit import datasets, network, plan

CASES = [("m_landsnet", "dice_focal"), ("m_landsnet", "cross_entropy")]


def train(folder: Path, name: str, loss: str) -> None:
    """Trains a small network in as many processes as were started; the first one leaves its weights."""
    rank = os.environ.get("RANK", "0")
    data = folder / f"data{rank}"
    data.mkdir(parents=True)
    patches, validate = datasets(data)
    net = network(name)
    settings = plan(epochs=2, precision="float64", loss=loss, batch_size=4, clip_norm=1.0, schedule="cosine")
    fit(net, patches, validate, settings, folder / "run")
    if rank == "0":
        torch.save(net.state_dict(), folder / "run" / "weights.pt")


TRAIN = """
import sys
from pathlib import Path
from tests.training.test_processes import CASES, train
for name, loss in CASES:
    train(Path(sys.argv[1]) / name / loss, name, loss)
"""


GRADIENTS = """
import json, os, sys
import torch
from glacierseg.training.processes import (
    find_processes, global_sum, global_sum_through, join, leave, wait_for_others
)
join(find_processes())
rank = int(os.environ["RANK"])
own = torch.tensor([1.0 + rank, 2.0], requires_grad=True)
(global_sum(own) * torch.tensor([3.0, 5.0])).sum().backward()
inner = torch.tensor([1.0 + rank], requires_grad=True)
(global_sum_through(inner) * (rank + 1)).sum().backward()
with open(f"{sys.argv[1]}/gradients{rank}", "w") as file:
    json.dump([own.grad.tolist(), inner.grad.tolist()], file)
wait_for_others()
leave()
"""


def launch(script: str, *arguments: object, processes: int) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "GLACIERSEG_TEST": script,
    }
    run = ["-c", "import os; exec(os.environ['GLACIERSEG_TEST'])"]
    command = [sys.executable, *run, *map(str, arguments)]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *torchrun, "--no-python", *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_train_to_the_result_of_one_and_sum_gradients(tmp_path: Path) -> None:
    launch(TRAIN + GRADIENTS, tmp_path / "both", processes=2)
    for name, loss in CASES:
        train(tmp_path / "alone" / name / loss, name, loss)
        alone, both = (tmp_path / count / name / loss / "run" for count in ("alone", "both"))
        tables = []
        for folder in (alone, both):
            with (folder / "epochs.csv").open() as file:
                rows = list(csv.DictReader(file))
            tables.append([[float(v) for k, v in row.items() if "seconds" not in k] for row in rows])
        assert len(tables[0]) == 2
        assert tables[1] == [pytest.approx(row, rel=1e-5) for row in tables[0]]
        one, two = (torch.load(folder / "weights.pt", weights_only=True) for folder in (alone, both))
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key].double(), value.double(), rtol=1e-6, atol=1e-8, msg=key)
    for rank in range(2):
        own, inner = json.loads((tmp_path / "both" / f"gradients{rank}").read_text())
        assert own == [3, 5], "of one's own share"
        assert inner == [3], "1 from the first process and 2 from the second"


def test_alone_there_is_nothing_to_sum() -> None:
    values = torch.arange(3.0)
    assert process_count() == 1
    assert global_sum(values) is values


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Processes()),
        (
            {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
            Processes(5, 8, 4),
        ),
        (
            {"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_NAME": "map"},
            Processes(3, 8, 4),
        ),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_NNODES": "2"}, Processes(3, 8, 4)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "bash"}, Processes()),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, Processes()),
    ],
)
def test_the_launcher_is_read_from_the_environment(environment: dict[str, str], expected: Processes) -> None:
    assert find_processes(environment) == expected


def test_uneven_nodes_are_refused() -> None:
    with pytest.raises(RequestError, match="do not share out evenly"):
        find_processes({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "5", "LOCAL_WORLD_SIZE": "2"})


def test_synchronised_norm_alone_is_batch_norm() -> None:
    torch.manual_seed(3)
    plain, other = nn.BatchNorm2d(5).double(), SynchronisedBatchNorm(5).double()
    with torch.no_grad():
        for norm in (plain, other):
            norm.weight.copy_(torch.linspace(0.5, 2, 5))
            norm.bias.copy_(torch.linspace(-1, 1, 5))
    x = torch.randn(4, 5, 6, 7, dtype=torch.float64) * 3 + 2
    for _ in range(3):
        torch.testing.assert_close(other(x), plain(x))
    torch.testing.assert_close(other.running_mean, plain.running_mean)
    torch.testing.assert_close(other.running_var, plain.running_var)
    torch.testing.assert_close(other.eval()(x), plain.eval()(x))
    assert torch.autograd.gradcheck(other.train(), (x[:, :, :2, :2].clone().requires_grad_(),))


def test_synchronised_norms_take_the_place_of_all_others() -> None:
    net = network().double()
    kept, x = net.state_dict(), torch.randn(2, 2, 32, 32, dtype=torch.float64)
    learned = {id(parameter) for parameter in net.parameters()}
    before = net.eval()(x)
    SynchronisedBatchNorm.replace_in(net)
    kinds = {type(module) for module in net.modules() if isinstance(module, nn.BatchNorm2d)}
    assert kinds == {SynchronisedBatchNorm}
    assert not any(module.training for module in net.modules())
    assert {id(parameter) for parameter in net.parameters()} == learned
    assert all(torch.equal(values, kept[key]) for key, values in net.state_dict().items())
    assert torch.equal(net(x), before)
