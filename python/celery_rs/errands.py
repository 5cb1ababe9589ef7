"""The errands that the steward knows (`src/ipc/errand.rs`).

An errand is a function that takes the steward and keyword arguments of plain data, among them `job` where it is about a
message; what it returns is plain data too. The parent names it.
"""

ERRANDS = {}


def errand(function):
    """Makes a function an errand, under its own name."""
    ERRANDS[function.__name__] = function
    return function
