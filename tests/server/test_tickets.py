"""Which of the waiting jobs are drawn together."""

from __future__ import annotations

import pytest

from facestudio.server.jobs import Job
from facestudio.server.tickets import SIZES, Ticket, choose_batch


def wait(*counts: int, shape: str | None = "[32]") -> list[Ticket]:
    """Tickets of jobs of so many pictures each."""
    asked = [{"num_images_per_prompt": count} for count in counts]
    return [Ticket(Job("anna", 0.0, shape, each)) for each in asked]


@pytest.mark.parametrize(
    ("waiting", "most", "drawn"),
    [(1, 8, 1), (3, 8, 2), (5, 8, 4), (7, 8, 6), (9, 8, 8), (13, 16, 12), (9, 5, 5), (100, 64, 64)],
)
def test_batches_have_few_sizes(waiting, most, drawn):
    tickets = wait(*[1] * waiting)
    assert choose_batch(tickets, most) == tickets[:drawn]


def test_pictures_count_and_a_job_is_never_split():
    assert [t.job.count for t in choose_batch(wait(3, 2, 2), 8)] == [3]
    assert [t.job.count for t in choose_batch(wait(3, 1, 2, 1), 8)] == [3, 1, 2]
    assert [t.job.count for t in choose_batch(wait(9, 1), 8)] == [9]


def test_only_jobs_of_the_oldest_ones_shape_come_along():
    first, others, last = wait(1), wait(1, 1, shape="[64]"), wait(1)
    assert choose_batch([*first, *others, *last], 8) == first + last
    alone = wait(1, shape=None)
    assert choose_batch([*alone, *last], 8) == alone


def test_one_is_always_a_size():
    assert SIZES[0] == 1
    assert list(SIZES) == sorted(set(SIZES))
