"""Networks as ONNX: onnxruntime computes their logits."""

import pytest
import torch

import convert
from lottery.checkpointing.checkpoint import masked_state
from lottery.formats import onnx
from lottery.tickets.ticket_file import TicketFile
from models import build_model
from tests.formats.own_network import NETWORK, own_arch
from tests.helpers import equal_weights, pruned_ticket, run_in_process, with_trained_batchnorm

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
IMAGES = {"classes": 10, "channels": 3, "image_size": 8, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A user's own network under a mask, the file of its ticket, and the bytes of its ONNX."""
    folder = tmp_path_factory.mktemp("own")
    model, file = saved(own_arch(folder), folder)
    status, _, err = run_in_process(convert, file, "--to", "onnx", "--image_size", 8)
    assert status == 0, err
    return model, file, (folder / "ticket.onnx").read_bytes()


def saved(arch, folder):
    """A network of random weights, pruned, and the file of its ticket."""
    torch.manual_seed(0)
    model = with_trained_batchnorm(build_model(arch, **IMAGES))
    ticket = pruned_ticket(model)
    settings = {"arch": arch, "stem": "imagenet", "script": "main_imp.py"}
    content = {"state_dict": masked_state(ticket.weights, ticket.mask), "init_weight": ticket.weights}
    torch.save(content | {"init_step": 0, "settings": settings, "history": []}, folder / "ticket.pth.tar")
    for name, layer in ticket.mask.items():
        model.get_parameter(name).data.mul_(layer)
    return model, folder / "ticket.pth.tar"


def logits(content, images):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@torch.no_grad()
def test_its_logits_are_torchs_for_any_number_of_images(own):
    model, _, content = own
    for n in (1, 5):
        images = torch.rand(n, 3, 8, 8)
        torch.testing.assert_close(logits(content, images), model(images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_an_mlp_needs_no_size_of_images(tmp_path):
    model, file = saved("lenet300", tmp_path)
    status, _, err = run_in_process(convert, file, "--to", "onnx", "--output", tmp_path / "mlp.onnx")
    assert status == 0, err
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(logits((tmp_path / "mlp.onnx").read_bytes(), images), model(images), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("arch", ["lenet300", "res14s"])
@pytest.mark.parametrize("form", ["compact", "safetensors", "hugging_face"])
def test_forms_that_order_tensors_otherwise_are_written_too(tmp_path, form, arch):
    """Away from their run, whose summary says how many classes there are."""
    model, file = saved(arch, tmp_path)
    more = [] if arch == "lenet300" else ["--image_size", 8]
    for to, flags, source in ((form, [], file), ("onnx", more, tmp_path / "form")):
        output = tmp_path / ("form" if to == form else "net.onnx")
        status, _, err = run_in_process(convert, source, "--to", to, "--output", output, *flags)
        assert status == 0, err
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(logits((tmp_path / "net.onnx").read_bytes(), images), model(images), rtol=0, atol=1e-5)


def test_other_logits_are_not_written(own, tmp_path, monkeypatch):
    _, file, content = own
    altered = TicketFile(file).starting_state
    altered["network.5.bias"] += 0.01
    torch.save(torch.load(file) | {"init_weight": altered}, tmp_path / "ticket.pth.tar")
    monkeypatch.setattr(onnx, "exported", lambda *_: content)
    status, _, err = run_in_process(convert, tmp_path / "ticket.pth.tar", "--to", "onnx", "--image_size", 8)
    assert status == 1 and "its logits differ from torch's by" in err
    assert not (tmp_path / "ticket.onnx").exists()


def test_the_weights_of_another_network_are_refused(own, tmp_path):
    _, file, _ = own
    content = torch.load(file)
    content["init_weight"] = {name: value for name, value in content["init_weight"].items() if "5.bias" not in name}
    assert not equal_weights(content["init_weight"], TicketFile(file).starting_state)
    torch.save(content, tmp_path / "ticket.pth.tar")
    refused("network.5.bias is another there", tmp_path / "ticket.pth.tar", "--image_size", 8)


def test_what_is_missing_is_one_sentence(own, tmp_path):
    _, file, _ = own
    refused("needs --image_size N", file)
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    refused("plain.pt does not say its arch", tmp_path / "plain.pt")
    status, _, err = run_in_process(convert, file, "--to", "prune", "--image_size", 8)
    assert status == 2 and "--image_size is of --to onnx" in err


def refused(message, file, *words):
    status, _, err = run_in_process(convert, file, "--to", "onnx", "--output", file.parent / "no.onnx", *words)
    assert status == 2 and message in err and len(err.splitlines()) == 1, err
    assert not (file.parent / "no.onnx").exists()


def test_a_network_that_torch_cannot_export_is_refused(own, tmp_path):
    network = NETWORK.replace("return nn", "return Odd")
    network += "\nclass Odd:\n    @staticmethod\n    def Sequential(*layers):\n        return Branching(*layers)\n"
    network += "\nclass Branching(nn.Sequential):\n    def forward(self, x):\n        x = super().forward(x)\n"
    network += "        return x + 1 if x.sum().item() > 0 else x\n"
    (tmp_path / "odd.py").write_text(network)
    _, file = saved(f"{tmp_path}/odd.py:net", tmp_path)
    refused("cannot be written as ONNX: ", file, "--image_size", 8)
