"""Calls a function of a project, and prints what it returns as JSON: `client.py project function`.

It is in the project's module, or in the package's `client`.
"""

import importlib
import json
import sys

if __name__ == "__main__":
    project, function = sys.argv[1:]
    found = importlib.import_module(project)
    if not hasattr(found, function):
        found = importlib.import_module(f"{project}.client")
    print(json.dumps(getattr(found, function)()))
