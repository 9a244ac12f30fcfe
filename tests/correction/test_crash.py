"""kill -9 at any instant loses at most the action in progress. Real processes, killed at random instants."""

from __future__ import annotations

import copy
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_unet.correction import EditFile, Journal
from napari_unet.correction import journal as journal_module

SCRIPT = Path(__file__).with_name("crash_session.py")
KILLS = 200 if os.environ.get("NAPARI_UNET_LONG") else 20
spec = importlib.util.spec_from_file_location("crash_session", SCRIPT)
session = importlib.util.module_from_spec(spec)
spec.loader.exec_module(session)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the sessions are forked")
@pytest.mark.timeout(1200)
def test_killed_at_random_instants(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(journal_module, "DEPTH", session.DEPTH)
    removed = EditFile.remove
    # what is compared with is copied: the files of its large steps are never changed, and stay
    monkeypatch.setattr(EditFile, "__deepcopy__", lambda file, _: file, raising=False)
    monkeypatch.setattr(EditFile, "remove", lambda file: file.path is not None and removed(file))
    labels, status = np.zeros(session.SHAPE, np.int32), np.zeros(session.SHAPE, np.uint8)
    journal, following = Journal(max_bytes=10**12), 0
    environment = {**os.environ, "NAPARI_UNET_HOME": str(tmp_path / "user"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
    ) as nursery:
        for _ in range(KILLS):
            nursery.stdin.write(f"{tmp_path} {following}\n")
            pid = int(nursery.stdout.readline().split()[1])
            saved, begun, told = following - 1, following - 1, rng.integers(1, 20)
            while (line := nursery.stdout.readline().split()) != ["gone"]:
                saved, begun = (saved, int(line[1])) if line[0] == "begin" else (int(line[1]), begun)
                told -= 1
                if told == 0:
                    time.sleep(rng.uniform(0, 0.008))  # the instant of the kill is what is random here
                    os.kill(pid, signal.SIGKILL)
                    nursery.stdin.write("wait\n")
            assert begun - saved in (0, 1)

            for number in range(following, saved + 1):
                session.act(number, labels, status, journal)
            before = copy.deepcopy((labels, status, journal))
            if begun > saved:  # in progress when the end came
                session.act(begun, labels, status, journal)
            store = session.open_session(tmp_path)
            assert not store.read_only
            found_labels, found_status = store.load()
            if not (np.array_equal(found_labels, labels) and np.array_equal(found_status, status)):
                labels, status, journal = before
                begun = saved
            np.testing.assert_array_equal(found_labels, labels)
            np.testing.assert_array_equal(found_status, status)
            if len(store.journal) != len(journal):  # an action that changes nothing to be seen
                journal = before[2]
            assert len(store.journal) == len(journal)
            assert store.journal.corrected == journal.corrected
            needed = {id(step.large.file) for step in (*journal._done, *journal._undone) if step.large is not None}
            assert store.close()
            assert len(list((store.path / "journal").glob("*.parts"))) == len(needed), "what was cut off is gone"
            following = begun + 1
        nursery.stdin.close()
    assert following > KILLS  # there was something to lose

    store = session.open_session(tmp_path)
    while (edit := store.journal.undo()) is not None:
        edit.revert(found_labels, found_status)
    assert len(store.journal) == 0
    store.close()
