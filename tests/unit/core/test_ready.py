"""The ready queue: order by priority, turns of tenants by weight, age within a tenant."""

import sys
from collections import Counter
from random import Random

import pytest

from crossdock.core.ready import ReadyQueue

ANY = (("kind", "work"),)
GPU = (("kind", "work"), ("gpu", "yes"))
DISK = (("disk", "big"), ("kind", "work"))


def push(queue, jobs, *, tenant="", priority=0, requirements=ANY):
    for job in jobs:
        queue.push(requirements, priority, tenant, job)


def drain(queue, classes=(ANY,), limit=10**6):
    taken = []
    while len(taken) < limit and (job := queue.pop(classes)) is not None:
        taken.append(job)
    return taken


def test_jobs_of_one_tenant_go_in_the_order_they_came():
    queue = ReadyQueue()
    push(queue, [3, 1, 2])
    assert drain(queue) == [3, 1, 2]
    assert queue.pop((ANY,)) is None


def test_higher_priorities_go_first_and_negative_ones_last():
    queue = ReadyQueue()
    for job, priority in enumerate((0, 5, -5, 5, 1)):
        queue.push(ANY, priority, "", job)
    assert drain(queue) == [1, 3, 4, 0, 2]


def test_a_worker_only_gets_classes_it_matches():
    queue = ReadyQueue()
    push(queue, [1], requirements=GPU)
    push(queue, [2])
    assert drain(queue, [ANY]) == [2]
    assert drain(queue, [ANY, GPU]) == [1]


def test_work_that_is_handed_back_goes_before_the_tenants_others():
    queue = ReadyQueue()
    push(queue, [1, 2])
    queue.push(ANY, 0, "", 9, first=True)
    assert drain(queue) == [9, 1, 2]


def test_removed_jobs_do_not_come_up_and_do_not_count():
    queue = ReadyQueue()
    push(queue, range(5))
    queue.remove(ANY, 0)
    queue.remove(ANY, 3)
    assert (len(queue), queue.size(ANY)) == (3, 3)
    assert drain(queue) == [1, 2, 4]
    assert (len(queue), queue.size(ANY)) == (0, 0)


def test_a_queue_whose_jobs_were_all_removed_is_empty():
    queue = ReadyQueue()
    push(queue, [1, 2])
    queue.remove(ANY, 1)
    queue.remove(ANY, 2)
    assert queue.pop((ANY,)) is None
    assert list(queue.classes()) == []


def test_oldest_is_the_lowest_id_at_the_head_of_a_queue():
    queue = ReadyQueue()
    assert queue.oldest() is None
    push(queue, [7, 3])
    push(queue, [5], requirements=GPU)
    assert queue.oldest() == 5


def share(queue, turns, classes=(ANY,), owner=lambda job: job // 10**6):
    return Counter(owner(job) for job in drain(queue, classes, turns))


def test_tenants_take_turns_whatever_the_length_of_their_queues():
    queue = ReadyQueue()
    push(queue, range(1000), tenant="a")
    push(queue, range(10**6, 10**6 + 10), tenant="b")
    assert share(queue, 20) == {0: 10, 1: 10}
    assert share(queue, 100) == {0: 100}


@pytest.mark.parametrize("heavy", [2, 3, 10])
def test_turns_follow_weights(heavy):
    queue = ReadyQueue({"a": heavy})
    push(queue, range(2000), tenant="a")
    push(queue, range(10**6, 10**6 + 2000), tenant="b")
    got = share(queue, 100 * (heavy + 1))
    assert abs(got[0] - 100 * heavy) <= heavy
    assert abs(got[1] - 100) <= 1


def test_an_idle_tenant_saves_up_no_turns():
    queue = ReadyQueue()
    push(queue, range(1000), tenant="a")
    drain(queue, limit=500)
    push(queue, range(10**6, 10**6 + 500), tenant="b")
    got = share(queue, 100)
    assert abs(got[0] - got[1]) <= 2


def test_a_tenant_with_one_job_at_a_time_does_not_get_ahead():
    """It is served, comes back with the next job, and has to wait for its turn like everybody."""
    queue = ReadyQueue()
    push(queue, range(1000), tenant="a")
    got = Counter()
    queue.push(ANY, 0, "b", 10**6)
    for turn in range(200):
        owner = "a" if queue.pop((ANY,)) < 10**6 else "b"
        got[owner] += 1
        if owner == "b":
            queue.push(ANY, 0, "b", 10**6 + turn + 1)
    assert abs(got["a"] - got["b"]) <= 2


def test_one_tenant_with_many_classes_gets_one_share():
    queue = ReadyQueue()
    classes = [(("kind", f"k{number}"),) for number in range(10)]
    for number, requirements in enumerate(classes):
        push(queue, range(number * 1000, number * 1000 + 1000), tenant="a", requirements=requirements)
    push(queue, range(10**6, 10**6 + 1000), tenant="b", requirements=ANY)
    got = share(queue, 200, [*classes, ANY])
    assert abs(got[0] - got[1]) <= 2


def test_tenants_of_one_class_keep_taking_turns_while_another_class_is_served_faster():
    queue = ReadyQueue()
    push(queue, range(1000), tenant="a")
    push(queue, range(10**6, 10**6 + 1000), tenant="b")
    push(queue, range(2 * 10**6, 2 * 10**6 + 5000), tenant="c", requirements=GPU)
    got = Counter()
    for _ in range(100):
        got[queue.pop((ANY,)) // 10**6] += 1
        drain(queue, [GPU], 10)
    assert abs(got[0] - got[1]) <= 2


def test_tenants_of_two_classes_share_a_worker_while_a_third_class_is_served_faster():
    queue = ReadyQueue()
    push(queue, range(1000), tenant="a")
    push(queue, range(10**6, 10**6 + 1000), tenant="b", requirements=DISK)
    push(queue, range(2 * 10**6, 2 * 10**6 + 5000), tenant="c", requirements=GPU)
    got = Counter()
    for _ in range(100):
        got[queue.pop((ANY, DISK)) // 10**6] += 1
        drain(queue, [GPU], 10)
    assert abs(got[0] - got[1]) <= 2


def test_nothing_is_lost_or_served_twice_in_a_long_random_history():
    random = Random(1)
    queue = ReadyQueue({"a": 3})
    inside, seen, gone = {}, [], set()
    for job in range(5000):
        requirements = random.choice((ANY, GPU, DISK))
        queue.push(requirements, random.randrange(3), random.choice("abc"), job, first=random.random() < 0.1)
        inside[job] = requirements
        if random.random() < 0.3:
            victim = random.choice(list(inside))
            queue.remove(inside.pop(victim), victim)
            gone.add(victim)
        if random.random() < 0.5 and (taken := queue.pop(random.sample((ANY, GPU, DISK), 2))) is not None:
            seen.append(taken)
            del inside[taken]
        assert len(queue) == len(inside)
    seen += drain(queue, [ANY, GPU, DISK])
    assert sorted(seen) == sorted(set(range(5000)) - gone)


@pytest.mark.parametrize("tenants", ["a", "abc"])
@pytest.mark.parametrize("priorities", [1, 3])
def test_taking_many_is_taking_one_after_the_other(tenants, priorities):
    random = Random(2)
    one, other = ReadyQueue({"a": 2}), ReadyQueue({"a": 2})
    for _ in range(40):
        pushed = [
            (random.choice((ANY, GPU, DISK)), random.randrange(priorities), random.choice(tenants), random.randrange(10**9))
            for _ in range(random.randrange(40))
        ]
        for queue in (one, other):
            for requirements, priority, tenant, job in pushed:
                queue.push(requirements, priority, tenant, job)
            if pushed:
                queue.remove(pushed[0][0], pushed[0][3])
        classes, limit = random.sample((ANY, GPU, DISK), 2), random.randrange(30)
        assert list(one.take(classes, limit)) == drain(other, classes, limit)
        assert len(one) == len(other)


def test_a_million_jobs_cost_less_than_a_hundred_bytes_each():
    queue = ReadyQueue()
    push(queue, range(2**40, 2**40 + 1_000_000))
    lane = queue._classes[ANY].lanes[0]
    ids = sum(sys.getsizeof(jobs) + len(jobs) * sys.getsizeof(2**40) for jobs in lane._queues.values())
    assert len(queue) == 1_000_000
    assert ids < 100 * 1_000_000
