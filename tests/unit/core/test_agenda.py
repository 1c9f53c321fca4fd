"""What has to be done when."""

from crossdock.core.agenda import Agenda, Errand, Now


def test_limits_of_jobs_that_have_ended_take_no_room_and_come_to_nothing():
    agenda = Agenda()
    start = Now(1000.0, 0.0)
    agenda.limit(0, 50.0, 100.0, 0.0, start)
    agenda.remind(70.0, Errand(1, "time"))
    for job in range(1, 100_000):
        agenda.limit(job, 50.0, None, 0.0, start)
        agenda.release(job)
        assert len(agenda._timers) < 2100
    assert agenda.due(Now(1060.0, 60.0)) == [Errand(0, "queue_timeout")]
    assert agenda.next() == 70.0
    assert agenda.due(Now(1200.0, 200.0)) == [Errand(1, "time"), Errand(0, "total_timeout")]
    assert agenda.next() == float("inf")


def test_a_limit_that_was_over_before_it_was_known_is_due_at_once():
    agenda = Agenda()
    agenda.limit(7, 10.0, None, 60.0, Now(1000.0, 0.0))
    assert agenda.due(Now(1000.0, 0.0)) == [Errand(7, "queue_timeout")]
