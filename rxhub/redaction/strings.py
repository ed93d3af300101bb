"""Secrets in strings: passwords in URLs, tokens, private keys, and the values of parameters with a secret name."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_plus

from rxhub.redaction.secret_names import secrets

__all__ = ["LABELS", "REDACTED", "VALUE_KEYS", "is_value_key", "redacted_text"]

REDACTED = "***"
"""Replaces a secret."""

_MAX_KEY_LENGTH = 16
_LABEL_WORDS = "key name field header param parameter property attribute variable setting option id label type"
LABELS = frozenset(case(word) for word in _LABEL_WORDS.split() for case in (str.lower, str.capitalize, str.upper))
"""Keys whose value names the value beside it, as in `{"name": "password", "value": "…"}`."""

_VALUE_WORDS = "value values val old new before after previous current default initial content text raw data"
VALUE_KEYS = frozenset(
    (*_VALUE_WORDS.split(), *(f"{which}value" for which in ("old", "new", "default", "previous", "current", "initial")))
)


def redacted_text(text: str, is_secret: Callable[[object], bool] = secrets.names) -> str:
    """A string with `***` for passwords in URLs, tokens, private keys, and values of parameters with a secret name."""
    if "://" in text:
        text = _USER_OF_URL.sub(_without_password, _USER_OF_NATS.sub(_without_password, text))
    if "=" in text:
        text = _PARAMETER.sub(lambda found: _without_value(found, is_secret), text)
    if ":" in text:
        text = _FIELD.sub(lambda found: _without_value(found, is_secret), text)
        text = _HEADER.sub(lambda found: _without_value(found, is_secret), text)
        text = _INLINE.sub(lambda found: _without_value(found, is_secret), text)
        if "{" in text:
            text = _OBJECT.sub(lambda found: _without_labelled(found[0], is_secret), text)
    if "earer " in text or "EARER " in text:
        text = _BEARER.sub(rf"\1{REDACTED}", text)
    if "--" in text:
        text = _PEM.sub(rf"\1{REDACTED}\2", text)
    if "eyJ" in text:
        text = _WEB_TOKEN.sub(REDACTED, text)
    return _NKEY_SEED.sub(REDACTED, text) if len(text) >= _SEED_LENGTH else text


# Linear in the length of the text: a match begins only at the start of a name, and takes the whole name or nothing.
_NAME = r"(?<![\w.\-%\[\]])([\w.\-%\[\]]{1,200}+)"
_USER_OF_URL = re.compile(r"(?<![\w+.\-])([A-Za-z][\w+.\-]{0,30}+://)([^\s/?#@:\"'<>]*+)(:?)([^\s/?#\"'<>]*)@")
# rxhub accepts any character in a password for NATS, up to the last @; a quote may also end the URL.
_USER_OF_NATS = re.compile(
    r"""(?i)(?<![\w+.\-])((?:nats|tls)://)([^\s/?#@:"'<>]*+)(:?)((?:[^\s"']|'(?![,\s\]}):])){0,300})@"""
)
_PARAMETER = re.compile(_NAME + r"""(\s?=\s?)("(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[^\s&;,"')\]}]++)""")
_FIELD = re.compile(
    r"""(?<![\w\\])\\?["']([\w.\-% ]{1,200}+)(\\?["']\s{0,4}:\s{0,4})"""
    r"""(\\".*?\\"|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[^\s,"')\]}\[{]++)"""
)
_HEADER = re.compile(r"^([A-Za-z][\w\-]{0,60}+)(:[ \t]{1,4})(\S[^\r\n]*+)", re.MULTILINE)
# In a line, a value ends with its word, and a cookie with the line.
_INLINE = re.compile(
    r"""(?i)(?<![\w.\-])([a-z][\w\-]{0,60}+)(:[ \t]{0,4}+)(?![/:])"""
    r"""((?<=cookie: )[^\r\n]++|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'"""
    r"""|(?:(?:basic|bearer|digest|token|negotiate|apikey)[ ]++)?[^\s&;,"')\]}\[{]++)"""
)
# A mapping without nested mappings, as JSON or Python writes it.
_OBJECT = re.compile(r"""\{(?:[^{}"']|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')++\}""")
_LABEL_IN_OBJECT = re.compile(r"""["'](\w{1,16})["']\s{0,4}:\s{0,4}["']([^"']{1,200})["']""")
_VALUE_IN_OBJECT = re.compile(
    r"""(?<=["'])([\w\-]{1,16})(["']\s{0,4}:\s{0,4})"""
    r"""("(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|\[[^\[\]]*+\]|[^\s,"'}\]\[]++)"""
)
_BEARER = re.compile(r"(?i)\b(bearer +)(?=[\w.~+/\-]*[\d._~+/\-])[\w.~+/\-]{8,}+=*")
# A JWT of NATS is also recognized by its header, if the rest is cut off.
_WEB_TOKEN = re.compile(
    r"(?<![\w\-])eyJ[\w\-]{5,}+\.[\w\-]{5,}+\.[\w\-]*+|eyJ0eXAiOiJ(?:KV1Q|qd3Q)iLCJhbGciOiJlZDI1NTE5[\w\-.]*+"
)
# The private keys of a user, account, operator, server, cluster or encryption; public ones do not begin with S.
_SEED_LENGTH = 58
_NKEY_SEED = re.compile(r"S[ACNOUX][A-Z2-7]{56}")
# The JWT and the seed in a credentials file, and private keys of certificates.
_PEM = re.compile(
    r"(?s)((?<!-)-{3,}+ ?BEGIN (?:[A-Z0-9]{1,20} ){0,4}(?:NKEY SEED|JWT|PRIVATE KEY) ?-{3,}+)"
    r".*?(-{3,}+ ?END |\Z)"
)


def _without_password(found: re.Match[str]) -> str:
    scheme, user, colon, password = found.groups()
    if colon and password:
        return f"{scheme}{user}:{REDACTED}@"
    # In NATS, a user without a password is a token.
    return f"{scheme}{REDACTED}@" if (user or password) and scheme.lower() in ("nats://", "tls://") else found[0]


def _without_value(found: re.Match[str], is_secret: Callable[[object], bool]) -> str:
    name, sign, value = found.groups()
    if not is_secret(unquote_plus(name)) or value == REDACTED:
        return found[0]
    quote = next((mark for mark in ('\\"', '"', "'") if value.startswith(mark) and len(value) > len(mark)), "")
    begin = found[0][: found.start(1) - found.start()]
    return f"{begin}{name}{sign}{quote}{REDACTED}{quote}"


def _without_labelled(text: str, is_secret: Callable[[object], bool]) -> str:
    """The text of a mapping, without the values beside the name of a secret."""
    for label in _LABEL_IN_OBJECT.finditer(text):
        if label[1].lower() in LABELS and is_secret(label[2]):
            return _VALUE_IN_OBJECT.sub(lambda found: _without_value(found, is_value_key), text)
    return text


def is_value_key(key: object) -> bool:
    """Whether a key holds the value that another key names, such as `value` and `new_value`."""
    return isinstance(key, str) and len(key) <= _MAX_KEY_LENGTH and re.sub(r"[_\- ]", "", key).lower() in VALUE_KEYS
