"""Text from elsewhere, fit to be shown: a terminal obeys control characters, and shows lines where there are none."""

from __future__ import annotations

import json


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with an escape of JSON, like \u001b, for each character that cannot be printed.

    Those are control characters of both ranges, the separators of lines and paragraphs, what changes the direction of
    writing, and all blanks but the common one. Those to `keep` stay. JSON stays the same JSON.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else json.dumps(one)[1:-1] for one in text)
