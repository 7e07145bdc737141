"""Secrets do not reach what people read; the rest of a message does, as it was."""

import pytest

from tasks.redact import redacted


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("s3://key:SEC/RET@bucket/a.h5: gone", "s3://…@bucket/a.h5: gone"),
        ("no file /data/simplecache::s3:/u:SECRET@b/a", "no file /data/simplecache::s3:/…@b/a"),
        ("403, url='https://h/a.h5?Signature=SECRET'", "403, url='https://h/a.h5?…'"),
        ("https://h/a.h5#SECRET (moved)", "https://h/a.h5#… (moved)"),
        ("http://mill:SECRET@host:42/api is down", "http://…@host:42/api is down"),
        ("postgresql+asyncpg://u:SECRET@db/p: refused", "postgresql+asyncpg://…@db/p: refused"),
    ],
)  # fmt: skip
def test_addresses_lose_what_may_be_secret(text, left):
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/a.h5: there is no such file", "/data/a@b/scan.h5: is this a scan? no", "20:00/h"],
)
def test_other_texts_stay(text):
    assert redacted(text) == text


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "PREFECT_API_AUTH_STRING", "aws_session_token", "PGPASSWORD"]
)
def test_values_of_secret_variables_are_taken_out(monkeypatch, name):
    monkeypatch.setenv(name, "mill:hush-hush")
    monkeypatch.setenv("SHORT_TOKEN", "a")
    assert redacted("a store said mill:hush-hush, again") == "a store said …, again"
