"""What the installed torch writes is read correctly without torch."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.weights.formats.reader import open_weights

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

DTYPES = {torch.float32: np.float32, torch.float16: np.float16, torch.bfloat16: ml_dtypes.bfloat16}


def bits(tensor: torch.Tensor) -> bytes:
    """The elements in row-major order, as bytes."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def check(path, expected: dict[str, torch.Tensor]) -> None:
    tensors = open_weights(path)
    assert tensors.shapes == {name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name, tensor in expected.items():
        if tensor.dtype in DTYPES:
            assert tensors[name].dtype == DTYPES[tensor.dtype]
            assert tensors[name].tobytes() == bits(tensor)


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 2), torch.nn.TransformerEncoder(layer, 2), torch.nn.BatchNorm1d(3))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dicts(tmp_path, model, dtype, protocol):
    state = model.to(dtype).state_dict()
    torch.save(state, tmp_path / "x.pth", pickle_protocol=protocol)
    check(tmp_path / "x.pth", state)


def test_views_in_any_order_of_axes(tmp_path):
    grid = torch.randn(2, 3, 4, 5)
    views = {str(order): grid.permute(order) for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (0, 2, 3, 1))}
    views |= {"part": grid[1], "row": grid[1, 2, 3], "one": grid[1, 2, 3, 4], "none": grid[:, :0], "unit": grid[1:]}
    torch.save(views, tmp_path / "x.pth")
    check(tmp_path / "x.pth", views)


def test_views_with_gaps_are_refused_by_name(tmp_path):
    torch.save({"x": torch.randn(4, 4)[:, ::2]}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"'x' is a view with gaps or repeats; save the tensors with \.contiguous\(\)"):
        open_weights(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # the published archives are scripted models
@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_torchscript(tmp_path, how, dtype):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.BatchNorm1d(4)).to(dtype).eval()
    made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.randn(2, 3, dtype=dtype))
    made.save(str(tmp_path / "x.pt"))
    assert open_weights(tmp_path / "x.pt").container == "torchscript"
    check(tmp_path / "x.pt", model.state_dict())


def test_a_pickled_module_is_refused_with_the_way_out(tmp_path, model):
    torch.save(model, tmp_path / "x.pth")
    message = (
        r"it asks for 'torch\.nn\.modules.*none of it was executed; save only the state dict: torch\.save\(model\."
    )
    with pytest.raises(InputError, match=message):
        open_weights(tmp_path / "x.pth")


def test_the_old_format_is_named_with_the_way_out(tmp_path, model):
    old, new = tmp_path / "old.pth", tmp_path / "new.pth"
    torch.save(model.state_dict(), old, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"torch before 1\.6; .*torch\.save\(torch\.load\(FILE, weights_only=True\)"):
        open_weights(old)
    torch.save(torch.load(old, weights_only=True), new)
    check(new, model.state_dict())


def test_torch_reads_our_handwritten_archives(tmp_path):
    """The table of hostile files starts from files that torch itself accepts."""
    from ..weights.archives import archive, state

    (tmp_path / "x.pth").write_bytes(archive(state(), version=b"3\n"))
    loaded = torch.load(tmp_path / "x.pth", weights_only=True)
    np.testing.assert_array_equal(loaded["x"].numpy(), open_weights(tmp_path / "x.pth")["x"])
