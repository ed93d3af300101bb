"""The HTTP endpoint of workers."""

from __future__ import annotations

from contextlib import closing
from socket import create_connection

import pytest

from rxhub.telemetry.probes import Check, Readiness
from rxhub.worker.endpoint import EndpointError, HttpEndpoint, Response, parse_address, probe_routes
from tests.worker.programs import probe


def test_it_answers_probes() -> None:
    routes = probe_routes(Readiness, lambda: Readiness((Check("connected", "no server answers"),)))
    with closing(HttpEndpoint("127.0.0.1", 0, routes)) as endpoint:
        assert probe(endpoint.port, "/healthz?x=1") == (200, {"status": "ok"})
        status, body = probe(endpoint.port, "/readyz")
        assert (status, body["reason"]) == (503, "connected: no server answers")
        assert probe(endpoint.port, "/other") == (404, {"status": "not found"})


def test_an_error_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Response:
        raise ValueError("a fault")

    with closing(HttpEndpoint("127.0.0.1", 0, {"/healthz": fail})) as endpoint:
        assert probe(endpoint.port, "/healthz") == (500, {"status": "error", "reason": "The log contains the error."})
    assert "A request could not be answered: a fault" in caplog.text


def test_silent_and_malformed_clients_do_not_disturb_others(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(HttpEndpoint("127.0.0.1", 0, probe_routes(Readiness, Readiness))) as endpoint:
        with create_connection(("127.0.0.1", endpoint.port)), create_connection(("127.0.0.1", endpoint.port)) as bad:
            bad.sendall(b"\xff\n\n")
            assert probe(endpoint.port, "/healthz")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_used_port_is_an_error_with_a_remedy() -> None:
    with closing(HttpEndpoint("127.0.0.1", 0, {})) as endpoint:
        with pytest.raises(EndpointError, match=rf"port {endpoint.port} of 127\.0\.0\.1: .* Choose another port"):
            HttpEndpoint("127.0.0.1", endpoint.port, {})


def test_an_address_of_another_machine_is_an_error_with_a_remedy() -> None:
    with pytest.raises(EndpointError, match=r"port 0 of 192\.0\.2\.1: .* Use an address of this machine"):
        HttpEndpoint("192.0.2.1", 0, {})


@pytest.mark.parametrize(
    ("text", "address"),
    [("8080", ("127.0.0.1", 8080)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::]:8080", ("::", 8080))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "http", "host:", "65536", "-1", "1:2:"])
def test_invalid_addresses_name_examples(text: str) -> None:
    with pytest.raises(ValueError, match="Examples: 8080"):
        parse_address(text)
