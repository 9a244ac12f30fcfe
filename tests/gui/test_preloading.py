"""Imports in the background: the window, which is a thread beside them, goes on."""

import subprocess
import sys

PROGRAM = """
import gc, threading, time
import torch
from napari_unet.gui.preloading import load_what_training_needs

kept = [[n] for n in range(400_000)]  # as many objects as a window has
gc.collect()
searched = []
gc.callbacks.append(lambda phase, about: searched.append(about["generation"]))
loading = threading.Thread(target=load_what_training_needs)
loading.start()
loading.join()
gc.callbacks.clear()
assert "torch._dynamo" in __import__("sys").modules
assert 2 not in searched, searched
assert gc.isenabled()
assert gc.get_freeze_count() == 0, "what is no longer used is given back, sometime"
"""


def test_what_a_training_needs_is_imported_without_a_search_for_garbage():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=300)
