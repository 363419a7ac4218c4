"""Where a download may be led."""

import ipaddress
import socket

import pytest

from syntrial.errors import SourceError
from syntrial.redirects import check_redirect, is_public


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # AWS, Google, Azure, OCI, DigitalOcean, OpenStack
        "169.254.170.2",  # a task's credentials on AWS
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104
        "10.96.0.1",
        "172.20.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
        "fe80::a9fe:a9fe",
        "::1",
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::a83f:8110",
        "2002:a9fe:a9fe::",
        "ff02::1",
    ],
)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(SourceError, match="public addresses"):
        check_redirect(f"https://{f'[{address}]' if ':' in address else address}/latest", field="hub")


@pytest.mark.parametrize("address", ["188.184.103.159", "2606:4700::6810:84e5", "64:ff9b::102:304", "::ffff:8.8.8.8"])
def test_those_of_the_internet_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def resolving_to(*addresses: str) -> object:
    return lambda *_args, **_words: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, 443)) for found in addresses]


def test_a_name_counts_by_all_that_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("188.184.103.159"))
    check_redirect("https://files.example.org/set.npz", field="set.npz")
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("188.184.103.159", "10.0.0.7"))
    with pytest.raises(SourceError, match=r"files\.example\.org, which is at 10\.0\.0\.7"):
        check_redirect("https://files.example.org/set.npz", field="set.npz")


@pytest.mark.parametrize("url", ["http://files.example.org/set.npz", "file:///etc/passwd", "ftp://x/y", "https:///x"])
def test_another_scheme_is_refused_without_a_look(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(SourceError, match="https at public"):
        check_redirect(url, field="set.npz")


def test_a_proxy_resolves_names_but_an_address_written_out_is_judged_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://10.0.0.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    check_redirect("https://files.example.org/set.npz", field="set.npz")
    with pytest.raises(SourceError):
        check_redirect("https://169.254.169.254/latest", field="set.npz")
