"""Texts without secrets, before they reach a log, a page, a summary or a server."""

import os
import re

SECRET = re.compile(r"SECRET|PASSW|TOKEN|AUTH_STRING|API_KEY|ACCESS_KEY|CREDENTIAL|CONNECTION_URL")
"""In names of environment variables whose values are secret."""
SHORTEST = 6
"""Characters of a secret: what is shorter stands in any text by chance."""
USER = re.compile(r"(:/{1,2})[^\s'\"<>]+@")
QUERY = re.compile(r"(://[^\s'\"<>?#]*[?#])[^\s'\"<>]+")


def redacted(text: str) -> str:
    """Take out what may be secret.

    Parameters
    ----------
    text : str
        A message, which may quote addresses.

    Returns
    -------
    str
        With … for user and password, query and fragment of each address, which may be signed, and
        for the values of environment variables that are named as secrets.
    """
    text = QUERY.sub(r"\1…", USER.sub(r"\1…@", text))
    values = {value for name, value in os.environ.items() if SECRET.search(name.upper())}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORTEST:
            text = text.replace(value, "…")
    return text
