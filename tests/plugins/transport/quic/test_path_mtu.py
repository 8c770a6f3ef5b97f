"""The search for the largest packet that a path carries."""

from meshloom_transport_quic.path_mtu import SAFE, TRIES, Search


def found(carries):
    search, probes = Search(1452), 0
    while (size := search.next) is not None:
        probes += 1
        if size <= carries:
            search.arrived(size)
        else:
            search.lost()
    return search.size, probes


def test_a_path_that_carries_everything_takes_one_probe():
    assert found(1500) == (1452, 1)


def test_a_path_through_a_tunnel_is_found_after_the_larger_size_was_tried_some_times():
    assert found(1400) == (1392, TRIES + 1)


def test_a_path_that_carries_nothing_more_ends_the_search():
    assert found(1300) == (SAFE, 2 * TRIES)


def test_one_lost_probe_is_not_the_path():
    search = Search(1452)
    search.lost()
    assert search.next == 1452


def test_a_size_that_the_interface_refuses_is_not_tried_again():
    search = Search(1452)
    search.refused()
    assert search.next == 1392


def test_a_new_path_is_searched_from_the_beginning():
    search = Search(1452)
    search.arrived(1452)
    before = search.round
    search.restart()
    assert (search.size, search.next, search.round != before) == (SAFE, 1452, True)


def test_no_probe_is_sent_where_nothing_larger_is_allowed():
    assert Search(SAFE).next is None
