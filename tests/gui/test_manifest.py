from pathlib import Path

import numpy as np
import pytest
from napari._app_model.constants._menus import is_menu_contributable
from napari.utils.notifications import notification_manager
from npe2 import PluginManager, PluginManifest
from npe2.manifest.utils import import_python_name

from napari_unet import ModelSpec, NetworkSpec, save_model
from napari_unet.gui.contributions import get_model_reader, model_imported
from napari_unet.models import Model, list_models

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_distribution("napari-unet")


@pytest.fixture
def library(monkeypatch, tmp_path):
    """Put the user's library into a temporary folder."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "models"


@pytest.fixture
def messages():
    """Collect what napari tells the user."""
    shown = []

    def keep(notification):
        shown.append((str(notification.severity), notification.message))

    notification_manager.notification_ready.connect(keep)
    yield shown
    notification_manager.notification_ready.disconnect(keep)


@pytest.fixture
def imported():
    names = []
    model_imported.connect(names.append)
    yield names
    model_imported.disconnect(names.append)


@pytest.fixture
def model_file(tmp_path):
    spec = ModelSpec(name="tiny", network=NetworkSpec(features=(2, 4)))
    return save_model(Model(spec.build_network(), spec), tmp_path / "tiny.safetensors")


def test_root_manifest_is_the_one_in_the_package(manifest):
    assert (ROOT / "napari.yaml").resolve() == ROOT / "src" / "napari_unet" / "napari.yaml"
    assert manifest.name == "napari-unet"
    assert manifest.display_name == "U-Net"


def test_every_command_can_be_imported(manifest):
    for command in manifest.contributions.commands:
        assert callable(import_python_name(command.python_name)), command


def test_every_contribution_names_a_command(manifest):
    given = manifest.contributions
    ids = [command.id for command in given.commands]
    menu_items = [item for items in given.menus.values() for item in items]
    used = {item.command for item in (*given.widgets, *given.readers, *given.sample_data, *menu_items)}
    assert len(ids) == len(set(ids))
    assert used == set(ids)


def test_menus_are_open_to_plugins(manifest):
    assert list(manifest.contributions.menus) == ["napari/layers/segment"]
    assert all(is_menu_contributable(menu) for menu in manifest.contributions.menus)


def test_sample_keys_do_not_hide_commands(manifest):
    ids = {command.id for command in manifest.contributions.commands}
    assert not ids & {f"napari-unet.{sample.key}" for sample in manifest.contributions.sample_data}


@pytest.mark.parametrize("key", ["nuclei_2d", "nuclei_3d"])
def test_sample_data(make_napari_viewer, key):
    viewer = make_napari_viewer()
    image, truth = viewer.open_sample("napari-unet", key)
    assert (image.name, truth.name) == (key, "truth")
    assert image.visible
    assert not truth.visible
    assert image.data.shape == truth.data.shape
    assert np.array_equal(image.scale, truth.scale)
    assert "".join(viewer.dims.axis_labels) == ("yx" if key == "nuclei_2d" else "zyx")


def test_napari_opens_the_widget(make_napari_viewer):
    viewer = make_napari_viewer()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-unet")
    assert type(widget).__name__ == "UNetPanel"
    viewer.window.remove_dock_widget(dock)


def test_opening_a_model_adds_it_to_the_library(make_napari_viewer, library, messages, imported, model_file):
    viewer = make_napari_viewer()
    assert viewer.open(model_file, plugin=None) == []
    assert not viewer.layers
    assert (library / "tiny.safetensors").read_bytes() == model_file.read_bytes()
    assert list_models()["tiny"] == library / "tiny.safetensors"
    assert imported == ["tiny"]
    assert messages == [("info", "The model 'tiny' is in your library: the U-Net panel lists it.")]


def test_several_models_at_once(library, imported, model_file):
    other = model_file.with_name("other.safetensors")
    other.write_bytes(model_file.read_bytes())
    paths = [str(model_file), str(other)]
    assert get_model_reader(paths)(paths) == [(None,)]
    assert imported == ["tiny", "other"]


@pytest.mark.parametrize("content", [b"", b"not a model", b"cut"])
def test_a_broken_file_gives_one_clear_message(library, messages, imported, model_file, content):
    broken = model_file.with_name("broken.safetensors")
    broken.write_bytes(model_file.read_bytes()[:-9] if content == b"cut" else content)
    assert get_model_reader(str(broken))(str(broken)) == [(None,)]
    ((severity, message),) = messages
    assert severity == "error"
    assert "broken.safetensors is not a model file" in message
    assert not imported
    assert not library.exists()


def test_a_full_disk_gives_one_clear_message(library, messages, monkeypatch, model_file):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_unet.models.library.shutil.copyfile", fail)
    assert get_model_reader(str(model_file))(str(model_file)) == [(None,)]
    assert messages[0][0] == "error"
    assert "No space left on device" in messages[0][1]


@pytest.mark.parametrize("path", ["cells.tif", "model.pt", "folder", ["a.safetensors", "b.tif"]])
def test_other_files_are_left_to_others(path):
    assert get_model_reader(path) is None


def test_napari_finds_the_reader():
    manager = PluginManager.instance()
    readers = [reader.command for reader in manager.iter_compatible_readers(["somewhere/nuclei.safetensors"])]
    assert "napari-unet.read_model" in readers
