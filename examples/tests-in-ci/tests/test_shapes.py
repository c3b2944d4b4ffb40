from shop import area


def test_an_area_is_width_times_height():
    assert area(2, 3) == 6
