from shop import plural


def test_a_plural_has_an_s():
    assert plural("job") == "jobs"
