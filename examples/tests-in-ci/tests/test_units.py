from shop import kilograms


def test_a_thousand_grams_are_a_kilogram():
    assert kilograms(1000) == 1
