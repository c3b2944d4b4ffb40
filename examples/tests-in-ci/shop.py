"""What is tested."""


def area(width, height):
    return width * height


def kilograms(grams):
    return grams / 100


def plural(word):
    return word + "s"
