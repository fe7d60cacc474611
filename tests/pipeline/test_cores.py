"""Several at once: in order, side by side, and what fails is raised."""

import threading

import pytest

from facestudio.pipeline.cores import on_all_cores


def test_results_come_in_the_order_of_the_items():
    assert on_all_cores(pow, [2, 3, 4], [5, 2, 1]) == [32, 9, 4]
    assert on_all_cores(abs, []) == []


def test_the_threads_are_kept():
    first = set(on_all_cores(lambda _: threading.get_ident(), range(50)))
    again = set(on_all_cores(lambda _: threading.get_ident(), range(50)))
    assert threading.get_ident() not in first | again
    kept = {thread.ident for thread in threading.enumerate()}
    assert first | again <= kept


def test_what_fails_is_raised():
    with pytest.raises(ZeroDivisionError):
        on_all_cores(lambda number: 1 // number, [1, 0, 2])
