import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from glacierseg.errors import DownloadError, RequestError, UnknownModelError
from glacierseg.models import create_model, model_spec
from glacierseg.models import zoo as zoo_module
from glacierseg.models.blocks import band_readers
from glacierseg.models.card import ModelCard, load_model, save_model
from glacierseg.training.fit import Inherited, _check_norms, _strategy, start_from
from glacierseg.training.processes import Processes
from tests.zoo import stand_in

NAME = "smp:Unet/resnet18"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = stand_in()
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", module)
    return module


def test_a_name_is_known_without_the_package_or_torch() -> None:
    code = (
        f"import sys; from glacierseg.models import model_spec; print(model_spec({NAME!r}).loss, "
        "*(name in sys.modules for name in ('torch', 'segmentation_models_pytorch')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dice_focal", "False", "False"]
    spec = model_spec(NAME)
    assert (spec.name, spec.default_patch_px, spec.learning_rate) == (NAME, 256, 1e-3)
    assert spec.parts == {"architecture": "Unet", "encoder": "resnet18"}


@pytest.mark.parametrize(
    "name",
    ["smp:", "smp:Unet", "smp:Unet/", "smp:/resnet18", "smp:Un-et/resnet18", "smp:Unet/res net",
     "smp:Unet/a/b", "smp:Unet/../b", "smp:Unet/r\n", "smp:Unét/resnet18"],
)  # fmt: skip
def test_a_malformed_name_shows_the_form(name: str) -> None:
    with pytest.raises(UnknownModelError, match=r"is not of the form smp:<Architecture>/<encoder>") as caught:
        model_spec(name)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("size_px", [(37, 53), (5, 70), (64, 96), (1, 1)])
@torch.inference_mode()
def test_logits_lie_on_the_pixels_of_the_input(size_px: tuple[int, int]) -> None:
    network = create_model(NAME, 18, 3).eval()
    logits = network(torch.randn(2, 18, *size_px))
    assert logits.shape == (2, 3, *size_px)
    assert logits.isfinite().all()


@pytest.mark.usefixtures("zoo")
@torch.inference_mode()
def test_an_odd_size_gives_what_the_mirrored_map_gives() -> None:
    network: Any = create_model(NAME, 3).eval()
    x = torch.randn(1, 3, 41, 50)
    rows, columns = (-size % network.multiple_px for size in (41, 50))
    mirrored = np.pad(x.numpy(), ((0, 0), (0, 0), (0, rows), (0, columns)), mode="reflect")
    torch.testing.assert_close(network(x), network.network(torch.from_numpy(mirrored))[..., :41, :50])


@pytest.mark.usefixtures("zoo")
def test_it_learns_one_patch() -> None:
    torch.manual_seed(0)
    network = create_model(NAME, 4).train()
    x = torch.randn(2, 4, 64, 64)
    truth = (nn.functional.avg_pool2d(x[:, 0], 9, 1, 4) > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(network(x), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.usefixtures("zoo")
def test_the_same_seed_gives_the_same_network_and_the_probe_draws_nothing() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        network = create_model(NAME, 5)
        states.append([*network.state_dict().values(), torch.rand(1)])
        assert network.training
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


@pytest.mark.usefixtures("zoo")
def test_first_weights_that_read_the_bands_are_small_and_marked() -> None:
    torch.manual_seed(0)
    network: Any = create_model(NAME, 5).eval()
    readers = band_readers(network)
    assert readers == {"network.encoder.conv1.weight": (0, 1, 2, 3, 4)}
    conv = network.network.encoder.conv1
    before = float(conv.weight.detach().std())
    conv.reset_parameters()
    assert before == pytest.approx(0.1 * float(conv.weight.detach().std()), rel=0.3)


@pytest.mark.usefixtures("zoo")
def test_a_saved_network_loads_with_equal_output(tmp_path: Path) -> None:
    network = create_model(NAME, 2).eval()
    card = ModelCard(
        architecture=NAME, bands=("a", "b"), band_mean=(0, 0), band_std=(1, 1), patch_px=64
    )  # fmt: skip
    save_model(tmp_path, network, card)
    loaded, read = load_model(tmp_path)
    x = torch.randn(1, 2, 40, 33)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))
    assert read == card
    with pytest.raises(RequestError, match="is a smp:Unet/resnet18, which cannot be pruned"):
        load_model(tmp_path, prune_level=2)


@pytest.mark.usefixtures("zoo")
def test_weights_go_over_by_band_name(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = create_model(NAME, 3).eval()
    card = ModelCard(
        architecture=NAME, bands=("blue", "red", "slope"), band_mean=(0,) * 3, band_std=(1,) * 3, patch_px=64
    )
    save_model(tmp_path, source, card)
    network = create_model(NAME, 4).eval()
    inherited = start_from(network, ("slope", "nir", "red", "dem"), tmp_path, NAME)
    assert inherited == Inherited(("slope", "red"), ("nir", "dem"))
    x, old = torch.randn(1, 4, 64, 64), torch.zeros(1, 3, 64, 64)
    x[:, [1, 3]] = 0
    old[:, 1], old[:, 2] = x[:, 2], x[:, 0]
    with torch.inference_mode():
        torch.testing.assert_close(network(x), source(old))


@pytest.mark.usefixtures("zoo")
def test_a_sketch_may_be_asked_for_before_the_work() -> None:
    with torch.device("meta"):
        create_model(NAME, 3)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("name", "width", "options", "message"),
    [
        ("smp:Unt/resnet18", 1.0, {}, r"no architecture 'Unt' \(did you mean 'Unet'\?\); it has Unet, "),
        (
            "smp:Unet/resnet19",
            1.0,
            {},
            r"no encoder 'resnet19' \(did you mean 'resnet18'\?\); it has resnet18",
        ),
        (NAME, 0.5, {}, "width is 0.5, but the sizes of this network are those of its encoder"),
        (NAME, 1.0, {"depth": 3}, "has no option 'depth'; it has encoder_weights"),
        (NAME, 1.0, {"encoder": "resnet34"}, "has no option 'encoder'"),
        (NAME, 1.0, {"encoder_weights": "imgnet"}, "cannot be built .Wrong pretrained weights `imgnet`"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    name: str, width: float, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        create_model(name, 3, 2, width, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smp:Unet/mit_b0", r"cannot be built \(Encoder `mit_b0` is not supported for this\); choose"),
        ("smp:Coarse/resnet18", r"gives \(1, 2, 64, 64\) for \(1, 3, 128, 128\) instead of one value per"),
        ("smp:Fixed/resnet18", r"cannot read maps of 128 px \(Input height doesn't match model \(224\)\)"),
        ("smp:Mixing/resnet18", "mixes neighbouring pixels before its first weights"),
    ],
)
def test_a_network_that_breaks_a_promise_is_refused(name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        create_model(name, 3)


def test_encoders_of_timm_are_looked_up_there(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    timm: Any = ModuleType("timm")
    timm.is_model = lambda name: name == "convnext"
    timm.list_models = lambda: ["convnext"]
    monkeypatch.setitem(sys.modules, "timm", timm)
    with pytest.raises(UnknownModelError, match=r"no encoder 'tu-convnet' \(did you mean 'tu-convnext'\?\)"):
        create_model("smp:Unet/tu-convnet", 3)
    asked, build = [], fake.create_model

    def note(architecture: str, **o: object) -> nn.Module:
        asked.append(o["encoder_weights"])
        result: nn.Module = build(architecture, **o | {"encoder_weights": None})
        return result

    monkeypatch.setattr(fake, "create_model", note)
    create_model("smp:Unet/tu-convnext", 3)
    create_model("smp:Unet/tu-convnext", 3, encoder_weights="imagenet")
    assert asked == [None, True], "timm has one set of weights per name"


def test_trained_weights_keep_their_size_and_are_not_fetched_again(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"encoder_weights": "imagenet"}
    network: Any = create_model(NAME, 2, **options)
    assert torch.all(network.network.encoder.conv1.weight == 0.5)
    assert set(band_readers(network)) == {"network.encoder.conv1.weight"}
    card = ModelCard(
        architecture=NAME, options=options, bands=("a", "b"), band_mean=(0, 0), band_std=(1, 1), patch_px=64
    )
    save_model(tmp_path, network, card)
    build = fake.create_model

    def offline(architecture: str, **o: object) -> nn.Module:
        if o["encoder_weights"]:
            raise FileNotFoundError("Please check your connection.\nTraceback")
        result: nn.Module = build(architecture, **o)
        return result

    monkeypatch.setattr(fake, "create_model", offline)
    loaded: Any
    loaded, read = load_model(tmp_path)
    assert torch.all(loaded.network.encoder.conv1.weight == 0.5)
    assert read.options == options
    with pytest.raises(DownloadError, match=r"not be downloaded \(Please check your connection\); try") as e:
        create_model(NAME, 2, **options)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("no", name="segmentation_models_pytorch"), r'pip install "glacierseg\[zoo\]"'),
        (
            RuntimeError("operator torchvision::nms does not exist"),
            "does not load .operator torchvision::nms",
        ),
    ],
)
def test_a_package_that_is_missing_or_broken_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(zoo_module, "import_module", fail)
    with pytest.raises(RequestError, match=message) as caught:
        create_model(NAME, 3)
    assert "torch and torchvision must be of one build" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_patch_that_batch_norm_cannot_learn_from_is_one_line(fake: ModuleType) -> None:
    network = create_model(NAME, 3).train()
    with pytest.raises(RequestError, match="give a batch_size of 2 or more"):
        network(torch.randn(1, 3, 4, 4))
    network(torch.randn(2, 3, 4, 4))
    network.eval()(torch.randn(1, 3, 4, 4))


def test_several_processes_look_for_unused_weights_and_refuse_other_batch_norms(fake: ModuleType) -> None:
    network = create_model(NAME, 3)
    two = Processes(rank=0, count=2, per_node=2)
    assert _strategy(network, two) == "ddp_find_unused_parameters_true"
    _check_norms(network)

    class BatchNormAct2d(nn.BatchNorm2d):
        pass

    inner: Any = network.network
    inner.encoder.bn2 = BatchNormAct2d(8)
    with pytest.raises(RequestError, match="BatchNormAct2d cannot be synchronised over several processes"):
        _check_norms(network)
