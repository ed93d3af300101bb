"""Private keys and JWTs of NATS are recognized without a name, wherever they stand."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from rxhub.redaction import REDACTED, redacted, redacted_text
from rxhub.redaction.preview import preview_line

BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()


seeds = st.builds("S{}{}".format, st.sampled_from("ACNOUX"), st.text(alphabet=BASE32, min_size=56, max_size=56))
web_tokens = st.builds(
    lambda kind, claims: f"{encoded({'typ': kind, 'alg': 'ed25519-nkey'})}.{encoded(claims)}.{'s' * 86}",
    st.sampled_from(["JWT", "jwt"]),
    st.dictionaries(st.text(), st.text(), max_size=3),
)
around = st.text(alphabet="azAZ -:=.,'\"\n\\[]{}%/0", max_size=20)


@given(around, st.one_of(seeds, web_tokens), around)
def test_a_seed_or_jwt_is_redacted_in_any_text(before: str, secret: str, after: str) -> None:
    if before[-1:].isalnum() and secret.startswith("eyJ"):
        before += " "
    text = f"{before}{secret}{after}"
    for shown in (redacted_text(text), repr(redacted({"note": [text]})), preview_line(text, 1_000)):
        assert secret not in shown
        assert secret[20:40] not in shown
    assert secret.encode() not in redacted(text.encode())


@given(seeds, web_tokens, st.sampled_from(["\n", "\r\n", "\\n"]), st.integers(0, 57))
def test_a_credentials_file_is_redacted_even_if_a_line_break_splits_its_seed(
    seed: str, web_token: str, newline: str, place: int
) -> None:
    lines = ["-----BEGIN NATS USER JWT-----", web_token, "------END NATS USER JWT------", "", "*****"]
    lines += ["-----BEGIN USER NKEY SEED-----", seed[:place] + newline + seed[place:], "------END USER NKEY SEED------"]
    shown = redacted_text(newline.join(lines))
    assert seed[:20] not in shown
    assert seed[-20:] not in shown
    assert web_token[-80:] not in shown
    assert redacted_text(shown) == shown


def test_a_jwt_is_redacted_if_its_end_is_cut_off() -> None:
    text = f"{encoded({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{encoded({'sub': 'U'})}"
    assert redacted_text(f"login {text[:60]}…") == f"login {REDACTED}…"


def test_private_keys_are_redacted_and_certificates_and_public_keys_are_not() -> None:
    text = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
    assert "MHcCAQEE" not in redacted_text(text)
    for ordinary in ("-----BEGIN CERTIFICATE-----\nMHcC\n-----END CERTIFICATE-----", "U" + BASE32 + BASE32[:23]):
        assert redacted_text(ordinary) == ordinary


@given(
    st.sampled_from(["nats", "tls", "NATS"]),
    st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="\"'@"), max_size=20),
    st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="\"'@"), max_size=20),
)
def test_a_password_for_nats_may_contain_any_character(scheme: str, before: str, after: str) -> None:
    secret = f"{before}hunter2{after}"
    assert "hunter2" not in redacted_text(f"invalid URL '{scheme}://one:4222,jane:{secret}@two,three'")
    # A token: a colon would separate a user and a password.
    assert "hunter2" not in redacted_text(f"{scheme}://{secret.replace(':', '')}@two")
