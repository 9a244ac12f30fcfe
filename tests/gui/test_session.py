"""The state that the panels render, and the transitions that its jobs may make."""

from itertools import product

import pytest

from napari_unet.gui.session import JobState, Session

IDLE, RUNNING, STOPPING = JobState
ALLOWED = {(IDLE, RUNNING), (RUNNING, STOPPING), (RUNNING, IDLE), (STOPPING, IDLE)}


@pytest.mark.parametrize("job", ["prediction", "training"])
@pytest.mark.parametrize(("now", "then"), list(product(JobState, JobState)))
def test_a_job_moves_along_the_table_only(job, now, then):
    session = Session(**{job: now})
    other = "training" if job == "prediction" else "prediction"
    seen = []
    getattr(session.events, job).connect(seen.append)
    if (now, then) in ALLOWED:
        session.move(job, then)
        assert getattr(session, job) is then
        assert seen == [then]
    else:
        with pytest.raises(ValueError, match=f"{job} cannot go from {now} to {then}"):
            session.move(job, then)
        assert getattr(session, job) is now
        assert not seen
    assert getattr(session, other) is IDLE


def test_the_message_comes_after_its_colour():
    """Whoever renders the message finds whether it is a problem."""
    session = Session()
    seen = []
    session.events.message.connect(lambda text: seen.append((text, session.problem)))
    session.say("bad", problem=True)
    session.say("good")
    assert seen == [("bad", True), ("good", False)]
