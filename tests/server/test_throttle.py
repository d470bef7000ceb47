"""What is allowed so often at most, and the dict that holds so much at most."""

from providers.bounded_dict import BoundedDict
from server.throttle import Throttle


def test_each_thing_comes_so_often_in_its_own_period():
    throttle = Throttle(2, 60.0)
    assert [throttle.allows("a", at) for at in (100.0, 159.9, 159.9, 160.0, 160.0, 161.0)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    assert throttle.allows("b", 161.0)


def test_a_clock_that_is_set_back_begins_a_new_period():
    throttle = Throttle(1, 1.0)
    assert [throttle.allows("a", at) for at in (100.0, 100.5, 20.0, 20.5)] == [True, False, True, False]


def test_very_many_things_take_no_more_memory():
    throttle = Throttle(1, 60.0)
    assert all(throttle.allows(n, 1.0) for n in range(1001)) and throttle.allows(0, 1.0)
    assert not throttle.allows(1000, 1.0)


def test_a_full_dict_drops_its_oldest_item_for_a_new_one():
    found: BoundedDict[str, int] = BoundedDict(2)
    found["a"], found["b"] = 1, 2
    found["a"] = 3  # which is there: nothing goes
    assert found == {"a": 3, "b": 2}
    assert (found.setdefault("b", 9), found.setdefault("c", 4)) == (2, 4)
    assert found == {"b": 2, "c": 4}
