import subprocess
import sys
from types import SimpleNamespace

import pytest

from napari_unet.errors import ModelFileError
from napari_unet.gui import doctor
from napari_unet.gui.doctor import Finding, examine


@pytest.fixture
def find(monkeypatch):
    """Examine with the slow probe of OpenGL replaced, and return the finding of one name."""
    monkeypatch.setattr(doctor, "_CHECKS", {k: v for k, v in doctor._CHECKS.items() if k != "OpenGL"})
    return lambda what: next((finding for finding in examine() if finding.what == what), None)


def fake_torch(monkeypatch, *, cuda_build, available, free=20e9):
    cuda = SimpleNamespace(is_available=lambda: available, get_device_name=lambda _: "NVIDIA H100")
    cuda.mem_get_info = lambda _: (int(free), int(80e9))
    version = "2.13.0" if cuda_build else "2.13.0+cpu"
    torch = SimpleNamespace(
        cuda=cuda,
        version=SimpleNamespace(cuda=cuda_build),
        __version__=version,
        device=lambda name: SimpleNamespace(type=name),
    )
    monkeypatch.setattr(doctor, "_torch", lambda: torch)


def fake_nvidia_smi(monkeypatch, output="NVIDIA H100 80GB HBM3, 570.86\n", returncode=0):
    monkeypatch.setattr("shutil.which", lambda _: "nvidia-smi")
    done = subprocess.CompletedProcess([], returncode, stdout=output, stderr="")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)


def fake_display(monkeypatch, display=":0"):
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)


def test_everything_is_reported_on_this_machine(find):
    assert find("napari-unet").ok
    for what in ("Python", "napari", "numpy", "torch", "Qt", "display", "device", "model library"):
        finding = find(what)
        assert finding.ok, finding
        assert finding.found


def test_opengl_is_probed_in_a_process_of_its_own():
    finding = doctor._check_opengl()
    assert finding.ok, finding
    assert finding.found[0].isdigit()


def test_cpu_build_of_torch_with_an_nvidia_card(find, monkeypatch):
    fake_torch(monkeypatch, cuda_build=None, available=False)
    fake_nvidia_smi(monkeypatch)
    finding = find("NVIDIA card")
    assert not finding.ok
    assert "NVIDIA H100 80GB HBM3 (driver 570.86)" in finding.found
    assert "2.13.0+cpu is a build for the CPU" in finding.found
    assert "pip install --force-reinstall torch" in finding.advice


def test_driver_too_old_for_torch(find, monkeypatch):
    fake_torch(monkeypatch, cuda_build="13.0", available=False)
    fake_nvidia_smi(monkeypatch, "Quadro P400, 390.1\n")
    finding = find("NVIDIA card")
    assert not finding.ok
    assert "too old for CUDA 13.0" in finding.found
    assert "Update the NVIDIA driver" in finding.advice


def test_working_nvidia_card(find, monkeypatch):
    fake_torch(monkeypatch, cuda_build="13.0", available=True)
    fake_nvidia_smi(monkeypatch)
    assert find("NVIDIA card") == Finding("NVIDIA card", "NVIDIA H100 80GB HBM3 (driver 570.86)", True)


@pytest.mark.parametrize("fake", [None, "", "No devices were found\n"])
def test_no_nvidia_card_is_no_finding(find, monkeypatch, fake):
    if fake is None:
        monkeypatch.setattr("shutil.which", lambda _: None)
    else:
        fake_nvidia_smi(monkeypatch, fake, returncode=6 if fake else 0)
    assert find("NVIDIA card") is None


def test_no_qt(find, monkeypatch):
    monkeypatch.setitem(sys.modules, "qtpy", None)
    finding = find("Qt")
    assert not finding.ok
    assert 'pip install "napari[pyqt6]"' in finding.advice
    assert doctor._check_opengl() == Finding("OpenGL", "not examined: Qt first", True)


def test_qt_without_its_system_libraries(monkeypatch):
    def fail(name):
        raise ImportError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", fail)
    finding = doctor._check_qt()
    assert finding.found.startswith("libEGL.so.1")
    assert "system library" in finding.advice


def test_no_display(find, monkeypatch):
    fake_display(monkeypatch, "")
    finding = find("display")
    assert not finding.ok
    assert "make demo" in finding.advice
    assert doctor._check_opengl().found == "not examined: display first"


@pytest.mark.parametrize(
    ("returncode", "stdout", "found", "hint"),
    [
        (0, '["4.6 NVIDIA 570", "NVIDIA H100"]', "4.6 NVIDIA 570, NVIDIA H100", ""),
        (
            0,
            'noise\n["4.5 Mesa", "llvmpipe (LLVM 15)"]',
            "4.5 Mesa, llvmpipe (LLVM 15)",
            "slow for large volumes",
        ),
        (-11, "", "ended with code -11", "Update the driver"),
        (1, "", "RuntimeError: Could not create a context", "Update the driver"),
    ],
)
def test_opengl(monkeypatch, returncode, stdout, found, hint):
    fake_display(monkeypatch)
    stderr = f"Traceback\n{found}\n" if returncode == 1 else ""
    done = subprocess.CompletedProcess([], returncode, stdout, stderr)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)
    finding = doctor._check_opengl()
    assert finding.found == found
    assert finding.ok == (returncode == 0)
    assert hint in finding.advice


def test_opengl_that_hangs(monkeypatch):
    def hang(*_, timeout, **__):
        raise subprocess.TimeoutExpired("python", timeout)

    fake_display(monkeypatch)
    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert doctor._check_opengl().found == "no answer within a minute"


@pytest.mark.parametrize(("free", "ok"), [(3.2e9, False), (16e9, True)])
def test_memory(find, monkeypatch, free, ok):
    fake_torch(monkeypatch, cuda_build="13.0", available=True)
    monkeypatch.setattr(doctor, "_free_memory", lambda device: free)
    for what in ("memory", "GPU memory"):
        finding = find(what)
        assert finding.ok is ok
        assert finding.found == f"{free / 1e9:.1f} GB free"
        assert bool(finding.advice) is not ok


def test_library_that_cannot_be_written(find, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr("napari_unet.models.library_folder", lambda: tmp_path / "file" / "models")
    finding = find("model library")
    assert not finding.ok
    assert str(tmp_path / "file") in finding.advice


def test_damaged_model(find, monkeypatch, tmp_path):
    path = tmp_path / "half.safetensors"
    path.write_bytes(b"half")
    monkeypatch.setattr("napari_unet.models.list_models", lambda: {"half": path})
    finding = find("models")
    assert not finding.ok
    assert "half.safetensors" in finding.found
    assert str(path) in finding.advice


def test_no_models(find, monkeypatch):
    monkeypatch.setattr("napari_unet.models.list_models", dict)
    assert not find("models").ok


def test_a_check_that_fails_is_a_finding(monkeypatch):
    def fail():
        raise ModelFileError("something odd")

    monkeypatch.setattr(doctor, "_CHECKS", {"models": fail})
    (finding,) = examine()
    assert finding.what == "models"
    assert not finding.ok
    assert "something odd" in finding.found


def test_missing_package(monkeypatch):
    assert doctor._package("no-such-package-here") == Finding(
        "no-such-package-here", "not installed", False, "Install it: pip install no-such-package-here"
    )
