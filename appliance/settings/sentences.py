"""What is wrong with a setting's value, in our own words rather than in pydantic's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# By pydantic's types of errors (https://docs.pydantic.dev/latest/errors/validation_errors/). {input} is the value as it
# was set, and the rest what pydantic says of the limit.
_SENTENCES = {
    "int_parsing": "{input} is not a whole number",
    "int_from_float": "{input} is not a whole number",
    "float_parsing": "{input} is not a number",
    "finite_number": "{input} is not a finite number",
    "bool_parsing": "{input} is neither true nor false",
    "byte_size": "{input} is not a size; try 2GiB",
    "byte_size_unit": "{input} is not a size; try 2GiB",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "enum": "{input} is not one of {expected}",
    "literal_error": "{input} is not one of {expected}",
    "string_pattern_mismatch": "{input} has the wrong form",
}


def sentence(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a setting, by one of the errors of a ValidationError."""
    form = _SENTENCES.get(str(error["type"]))
    if form is None:  # a validator of our own: its sentence
        return str(error["msg"]).removeprefix("Value error, ")
    limits = dict(error.get("ctx", {}))
    if "expected" in limits:
        limits["expected"] = ", ".join(re.findall(r"'([^']*)'", str(limits["expected"])))
    return form.format(input=repr(error["input"]), **limits)
