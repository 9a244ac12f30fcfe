"""One window at a time writes to a store: a lock file that says who has it, and is void when that process is gone."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Lock"]

_MINE: set[str] = set()
"""Tokens of the locks that this process holds."""


class Lock:
    """The lock of one store.

    Parameters
    ----------
    path : Path
        The lock file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = uuid4().hex

    def take(self) -> str | None:
        """Take the lock; return who has it where that is not possible, None where it was taken.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        who = {
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "host": socket.gethostname(),
            "token": self._token,
        }
        for _ in range(3):
            holder = self._holder()
            if holder is not None:
                return holder
            with suppress(FileNotFoundError):
                # of a process that is gone; moved first, so that only one of two windows takes it
                stale = self._path.rename(self._path.with_name(f"{self._path.name}.{self._token}"))
                stale.unlink()
            try:
                with self._path.open("x") as file:
                    json.dump(who, file)
            except FileExistsError:
                continue
            _MINE.add(self._token)
            return None
        return "another window"

    def release(self) -> None:
        """Give the lock back."""
        if self._token in _MINE:
            _MINE.discard(self._token)
            with suppress(OSError):
                self._path.unlink()

    def _holder(self) -> str | None:
        """Return who has the lock, None if nobody that is alive."""
        try:
            who = json.loads(self._path.read_text())
            pid, host = int(who["pid"]), str(who["host"])
            started, token = float(who["started"]), str(who["token"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None  # torn: its writer died
        if host != socket.gethostname():
            return f"napari on {host}"  # whether it is alive cannot be told from here
        if pid == os.getpid():
            return "another window of this napari" if token in _MINE else None
        with suppress(psutil.Error):
            # the clock of a process start is read with an error of a second in containers
            process = psutil.Process(pid)
            if abs(process.create_time() - started) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                return f"another napari (process {pid})"
        return None
