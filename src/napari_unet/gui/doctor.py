"""What this machine has, what it lacks and what to do about it: one small function per check, without Qt."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import napari_unet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Finding", "examine", "examine_device"]

_GB = 1e9
_ENOUGH_MEMORY = 4 * _GB
_TORCH_PAGE = "https://pytorch.org/get-started/locally"
_SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swrast", "software rasterizer", "gdi generic")

# run in a process of its own: a broken driver ends the process that asks it
_OPENGL_PROBE = """
import json
from qtpy import API_NAME
from vispy.app import Canvas, use_app
from vispy.gloo import gl

use_app(API_NAME)
canvas = Canvas(show=False)
canvas.set_current()
print(json.dumps([gl.glGetParameter(gl.GL_VERSION), gl.glGetParameter(gl.GL_RENDERER)]))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    what : str
        What was looked at.
    found : str
        What was found there.
    ok : bool
        Whether everything works with it.
    advice : str
        What to do; may be given for what works but could be better.
    """

    what: str
    found: str
    ok: bool
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything the program needs. Never raises: a check that fails is itself a finding."""
    return [finding for what, check in _CHECKS.items() for finding in _run(what, check)]


def examine_device() -> list[Finding]:
    """Look at what computes, and at a card that torch cannot use. Never raises; may take a second."""
    names = ("device", "NVIDIA card", "GPU memory")
    return [finding for what in names for finding in _run(what, _CHECKS[what])]


def _run(what: str, check: Callable[[], Finding | None]) -> list[Finding]:
    try:
        finding = check()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return [Finding(what, f"could not be examined ({reason})", False, "Report this line, please.")]
    return [finding] if finding else []


def _check_program() -> Finding:
    return Finding("napari-unet", napari_unet.__version__, True)


def _check_python() -> Finding:
    return Finding("Python", f"{platform.python_version()} ({platform.system()} {platform.machine()})", True)


def _check_napari() -> Finding:
    return _package("napari")


def _check_numpy() -> Finding:
    return _package("numpy")


def _check_torch() -> Finding:
    try:
        import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("torch", _first_line(error), False, f"Install it: pip install torch, or see {_TORCH_PAGE}")
    return _package("torch")


def _package(name: str) -> Finding:
    try:
        return Finding(name, metadata.version(name), True)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", False, f"Install it: pip install {name}")


def _check_qt() -> Finding:
    try:
        qtpy = import_module("qtpy")
        import_module("qtpy.QtWidgets")
    except ImportError as error:
        # no binding at all, or one whose system libraries are missing ("libEGL.so.1: cannot open ...")
        advice = 'Install one: pip install "napari[pyqt6]"'
        if ".so" in str(error):
            advice = "Install the system library named here; on Debian and Ubuntu 'make test' as root does."
        return Finding("Qt", _first_line(error), False, advice)
    return Finding("Qt", f"{qtpy.API_NAME} {qtpy.QT_VERSION}", True)


def _check_display() -> Finding:
    if not sys.platform.startswith("linux"):
        return Finding("display", platform.system(), True)
    names = [name for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)]
    if names:
        return Finding("display", ", ".join(f"{name}={os.environ[name]}" for name in names), True)
    advice = "Run 'make demo', or: xvfb-run -a napari. The command line needs no display."
    return Finding("display", "none (neither DISPLAY nor WAYLAND_DISPLAY is set)", False, advice)


def _check_opengl() -> Finding:
    for needed in (_check_qt(), _check_display()):
        if not needed.ok:
            return Finding("OpenGL", f"not examined: {needed.what} first", True)
    advice = "Update the driver of the graphics card; on a remote or virtual machine: xvfb-run -a napari."
    try:
        done = subprocess.run(
            [sys.executable, "-c", _OPENGL_PROBE], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("OpenGL", "no answer within a minute", False, advice)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        return Finding("OpenGL", lines[-1], False, advice)
    version, renderer = json.loads(done.stdout.splitlines()[-1])
    is_software = any(name in renderer.lower() for name in _SOFTWARE_RENDERERS)
    slow = "Drawn by the processor: fine in 2-D, slow for large volumes in the 3-D view." if is_software else ""
    return Finding("OpenGL", f"{version}, {renderer}", True, slow)


def _check_device() -> Finding:
    from napari_unet.prediction import pick_device, thread_count

    device = pick_device()
    if device.type == "cuda":
        return Finding("device", f"cuda ({_torch().cuda.get_device_name(0)})", True)
    return Finding("device", f"{device.type} ({thread_count()} cores)", True)


def _check_nvidia() -> Finding | None:
    from napari_unet.prediction.card import installed_card, unused_card

    card = installed_card()
    if card is None:
        return None
    problem = unused_card(_torch())
    if problem is not None:
        return Finding("NVIDIA card", problem.found, False, problem.advice)
    return Finding("NVIDIA card", card, True)


def _check_memory() -> Finding:
    return _memory("memory", _free_memory("cpu"), "Close other programs, or segment smaller images.")


def _check_gpu_memory() -> Finding | None:
    if not _torch().cuda.is_available():
        return None
    advice = "Close other programs that use the card (nvidia-smi lists them), or choose the device 'cpu'."
    return _memory("GPU memory", _free_memory("cuda"), advice)


def _memory(what: str, free: float, advice: str) -> Finding:
    is_enough = free >= _ENOUGH_MEMORY
    return Finding(what, f"{free / _GB:.1f} GB free", is_enough, "" if is_enough else advice)


def _free_memory(device: str) -> int:
    from napari_unet.prediction.device import free_memory

    return free_memory(_torch().device(device))


def _check_library() -> Finding:
    from napari_unet.models import library_folder

    folder = library_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    advice = "" if is_writable else f"Models cannot be kept there: make {existing} a folder that you may write to."
    return Finding("model library", str(folder), is_writable, advice)


def _check_models() -> Finding:
    from napari_unet.errors import ModelFileError
    from napari_unet.models import list_models, read_spec

    models = list_models()
    if not models:
        return Finding("models", "none", False, "The shipped models are missing: install napari-unet again.")
    for path in models.values():
        try:
            read_spec(path)
        except ModelFileError as error:
            return Finding("models", str(error), False, f"Copy it anew, or delete {path}")
    return Finding("models", ", ".join(models), True)


def _torch() -> Any:
    return import_module("torch")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_CHECKS: dict[str, Callable[[], Finding | None]] = {
    "napari-unet": _check_program,
    "Python": _check_python,
    "napari": _check_napari,
    "numpy": _check_numpy,
    "torch": _check_torch,
    "Qt": _check_qt,
    "display": _check_display,
    "OpenGL": _check_opengl,
    "device": _check_device,
    "NVIDIA card": _check_nvidia,
    "memory": _check_memory,
    "GPU memory": _check_gpu_memory,
    "model library": _check_library,
    "models": _check_models,
}
