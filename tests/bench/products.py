"""What is cached: a shop's products, and a function that makes a text of one.

Each value tells whose it is, and each text also which call of the function made it.
"""

from __future__ import annotations

import json
from itertools import count

NUMBERS = range(1000)
GROUP = 100
TTL = 3600
SMALL = len(NUMBERS) // 2  # entries of a near cache in which nothing is found again in time


def key_of(number):
    return f"product:{number}"


def product(number):
    """Return what a far cache holds."""
    return {
        "pk": number,
        "name": f"product {number}",
        "price": number / 4,
        "stock": {"here": number % 7, "elsewhere": number % 11},
        "tags": ["new", "red", "large"],
    }


KEYS = [key_of(number) for number in NUMBERS]
PRODUCTS = {key_of(number): product(number) for number in NUMBERS}
TEXTS = {key: json.dumps(value).encode() for key, value in PRODUCTS.items()}
GROUPS = [KEYS[start : start + GROUP] for start in range(0, len(KEYS), GROUP)]


def maker():
    """Return the function that is cached."""
    serial = count()

    def text(number):
        return f"product {number}, made by call {next(serial)}".ljust(100, ".")

    return text


def is_product(key, value):
    """Tell whether a cache found a product, or a client its text."""
    return (json.loads(value) if isinstance(value, bytes) else value) == PRODUCTS.get(key)


def by_key(keys, found):
    """Return what was found by key, whether that came as a dictionary or in order."""
    return found if isinstance(found, dict) else dict(zip(keys, found, strict=True))
