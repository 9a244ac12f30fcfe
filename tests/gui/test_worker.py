"""A core generator in a background thread, its events in the main one."""

import gc
import logging
import sys
import threading
import weakref

import pytest
from qtpy.QtCore import QEvent, QThreadPool
from qtpy.QtWidgets import QApplication

from napari_unet.errors import PredictionError
from napari_unet.events import Notice, StepDone, TileDone
from napari_unet.gui.jobs import Jobs
from napari_unet.gui.session import JobState, Session
from napari_unet.gui.worker import Job

MAIN = threading.main_thread()


class Heard:
    """What a job told, in order, and in which thread."""

    def __init__(self):
        self.calls, self.threads = [], set()

    def __call__(self, what):
        def hear(*arguments):
            self.calls.append((what, *arguments))
            self.threads.add(threading.current_thread())

        return hear

    @property
    def over(self):
        return bool(self.calls) and self.calls[-1][0] == "end"


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def run(qtbot, heard):
    """Return what starts a job of a generator function that takes the stop flag."""
    jobs = []

    def start(make):
        hooks = {f"on_{name}": heard(name) for name in ("event", "result", "error", "end")}
        jobs.append(Job("test", make, **hooks))
        jobs[-1].start()
        return jobs[-1]

    yield start
    for job in jobs:
        job.stop()
    assert QThreadPool.globalInstance().waitForDone(10_000)


def test_events_result_and_end_come_in_order_in_the_main_thread(run, heard, qtbot):
    where = []

    def work(stop):
        where.append(threading.current_thread())
        yield 1
        yield 2
        return "done"

    run(work)
    qtbot.waitUntil(lambda: heard.over)
    assert heard.calls == [("event", 1), ("event", 2), ("result", "done"), ("end",)]
    assert heard.threads == {MAIN}
    assert where[0] is not MAIN


@pytest.mark.parametrize("when", ["before", "between", "making"])
@pytest.mark.parametrize("error", [RuntimeError, ValueError, MemoryError, OSError, PredictionError])
def test_every_error_arrives(run, heard, qtbot, caplog, error, when):
    """Qt workers swallow a RuntimeError: torch raises it for most that goes wrong."""

    def work(stop):
        if when == "before":
            raise error("boom")
        yield 1
        raise error("boom")

    def make(stop):
        if when == "making":
            raise error("boom")
        return work(stop)

    with caplog.at_level(logging.CRITICAL, logger="napari_unet"):
        run(make)
        qtbot.waitUntil(lambda: heard.over)
    (told,) = [call for call in heard.calls if call[0] == "error"]
    if error is PredictionError:
        assert told == ("error", "boom")
    else:
        assert "boom" in told[1]
        assert "Something went wrong inside the program" in told[1]
    assert not any(call[0] == "result" for call in heard.calls)


def test_stop_is_polled_and_the_result_still_comes(run, heard, qtbot):
    cleaned = []

    def work(stop):
        try:
            while not stop.is_set():
                yield "step"
            return "as far as it came"
        finally:
            cleaned.append(threading.current_thread())

    job = run(work)
    qtbot.waitUntil(lambda: bool(heard.calls))
    assert not job.stop_flag.is_set()
    job.stop()
    qtbot.waitUntil(lambda: heard.over)
    assert heard.calls[-2] == ("result", "as far as it came")
    assert len(cleaned) == 1
    assert cleaned[0] is not MAIN


def test_an_abandoned_job_ends_and_says_no_more(run, heard, qtbot):
    ended = threading.Event()

    def work(stop):
        while not stop.is_set():
            yield "step"
        ended.set()
        return "too late"

    job = run(work)
    qtbot.waitUntil(lambda: bool(heard.calls))
    job.abandon()
    said = len(heard.calls)
    assert QThreadPool.globalInstance().waitForDone(10_000)
    assert ended.is_set() or job.stop_flag.is_set()
    qtbot.wait(0)
    assert len(heard.calls) == said


# --- jobs of a session ---------------------------------------------------------------------------------------


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def jobs(qtbot, session, heard):
    made = Jobs(session, heard("training"))
    yield made
    made.abandon()
    assert QThreadPool.globalInstance().waitForDone(10_000)


def start(jobs, kind, work, heard):
    jobs.start(kind, work, on_result=heard("result"), message=f"{kind}...")


def test_progress_and_message_of_a_prediction(jobs, session, heard, qtbot):
    seen = []
    session.events.progress.connect(seen.append)
    session.events.message.connect(seen.append)

    def work(stop):
        yield TileDone(1, 4, 200.0)
        yield Notice("slower, on the CPU")
        yield TileDone(4, 4, 0.0)
        return 7

    start(jobs, "prediction", work, heard)
    assert session.prediction is JobState.RUNNING
    assert session.message == "prediction..."
    qtbot.waitUntil(lambda: session.prediction is JobState.IDLE)
    assert heard.calls == [("result", 7)]
    assert [one for one in seen if isinstance(one, float)] == [0.0, 0.25, 1.0, -1.0]
    assert "Segmenting: 1 of 4 tiles, 3 min left." in seen
    assert "slower, on the CPU" in seen


def test_one_of_each_kind_at_most(jobs, session, heard, qtbot):
    def work(stop):
        while not stop.is_set():
            yield TileDone(1, 2, 1.0)

    start(jobs, "prediction", work, heard)
    with pytest.raises(ValueError, match="cannot go"):
        start(jobs, "prediction", work, heard)
    jobs.stop("prediction", "Cancelling...")
    assert session.prediction is JobState.STOPPING
    jobs.stop("prediction", "again")
    assert session.message == "Cancelling..."
    with pytest.raises(ValueError, match="cannot go"):
        start(jobs, "prediction", work, heard)
    jobs.stop("training", "there is none")
    qtbot.waitUntil(lambda: session.prediction is JobState.IDLE)


def test_a_training_waits_while_a_prediction_runs(jobs, session, heard, qtbot):
    go_on = threading.Event()

    def training(stop):
        step = 0
        while not stop.is_set():
            step += 1
            yield StepDone(step, 0.5, 1.0)
        return "trained"

    def prediction(stop):
        yield TileDone(1, 2, 1.0)
        go_on.wait(10)
        yield TileDone(2, 2, 0.0)
        return "predicted"

    def steps():
        return sum(call[0] == "training" for call in heard.calls)

    start(jobs, "training", training, heard)
    qtbot.waitUntil(lambda: steps() > 2)
    start(jobs, "prediction", prediction, heard)
    qtbot.waitUntil(lambda: session.progress == 0.5 and "tiles" in session.message)
    qtbot.wait(20)  # what is under way arrives
    was = steps()
    qtbot.wait(50)
    assert steps() == was
    assert "tiles" in session.message
    go_on.set()
    qtbot.waitUntil(lambda: session.prediction is JobState.IDLE)
    qtbot.waitUntil(lambda: steps() > was + 2)
    assert session.training is JobState.RUNNING
    assert session.progress == 0.5
    jobs.stop("training", "Stopping...")
    qtbot.waitUntil(lambda: session.training is JobState.IDLE)
    assert [call[1] for call in heard.calls if call[0] == "result"] == ["predicted", "trained"]
    assert session.progress == -1


@pytest.mark.parametrize("failed", ["prediction", "training"])
def test_a_failed_job_is_over(jobs, session, heard, qtbot, caplog, failed):
    def work(stop):
        yield Notice("so far so good")
        raise RuntimeError("boom")

    with caplog.at_level(logging.CRITICAL, logger="napari_unet"):
        start(jobs, failed, work, heard)
        qtbot.waitUntil(lambda: getattr(session, failed) is JobState.IDLE)
    assert "boom" in session.message
    assert session.problem
    assert session.progress == -1
    # the next one runs

    def fine(stop):
        yield Notice("")
        return 1

    start(jobs, failed, fine, heard)
    qtbot.waitUntil(lambda: getattr(session, failed) is JobState.IDLE)
    assert heard.calls == [("result", 1)]


def test_a_job_that_is_over_holds_nothing(qtbot, heard):
    """A training works on copies of images: they must not pile up."""

    class Large:
        pass

    def begin():
        large = Large()

        def work(stop):
            yield 1
            return large

        hooks = {f"on_{name}": heard(name) for name in ("event", "error", "end")}
        job = Job("test", work, on_result=lambda _: large, **hooks)
        job.start()
        return job, weakref.ref(large)

    job, alive = begin()  # napari, too, keeps its worker
    qtbot.waitUntil(lambda: heard.over)

    def is_gone():
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        return alive() is None

    qtbot.waitUntil(is_gone)
    assert not job.stop_flag.is_set()


def test_jobs_run_side_by_side_also_on_one_core(run, heard, qtbot):
    QThreadPool.globalInstance().setMaxThreadCount(1)  # what Qt chooses there
    both = threading.Barrier(3)

    def work(stop):
        yield "begun"
        both.wait(10)

    for _ in range(3):
        run(work)
    qtbot.waitUntil(lambda: heard.calls.count(("end",)) == 3)
    assert not any(what == "error" for what, *_ in heard.calls)


def test_threads_have_short_turns_while_something_works(run, heard, qtbot):
    before = sys.getswitchinterval()
    seen, first_may_end, second_may_end = [], threading.Event(), threading.Event()

    def work(gate):
        def steps(stop):
            seen.append(sys.getswitchinterval())
            yield "begun"
            gate.wait(10)
            if stop.is_set():
                raise PredictionError("stopped")

        return steps

    run(work(first_may_end))
    second = run(work(second_may_end))
    qtbot.waitUntil(lambda: len(seen) == 2)
    assert all(interval < before / 2 for interval in seen)
    first_may_end.set()
    qtbot.waitUntil(lambda: ("end",) in heard.calls)
    assert sys.getswitchinterval() < before / 2, "the other one still works"
    second.stop()  # an error, or a window that closes, ends it as well
    second.abandon()
    second_may_end.set()
    assert QThreadPool.globalInstance().waitForDone(10_000)
    assert sys.getswitchinterval() == before
