"""Prints the names of Jinja2's filters, its tests and its globals, as one line of JSON."""

import json

from jinja2 import defaults

print(
    json.dumps(
        {
            "filters": sorted(defaults.DEFAULT_FILTERS),
            "tests": sorted(defaults.DEFAULT_TESTS),
            "functions": sorted(defaults.DEFAULT_NAMESPACE),
        }
    )
)
