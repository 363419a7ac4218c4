"""Where a download may be led: by a redirect, to https at public addresses and nowhere else.

Whoever answers for a server that publishes data could otherwise lead the one who asks to what only that machine
reaches: a cloud's metadata service, a database beside it. Called by what downloads from servers that do redirect,
MedMNIST's and the model hub's; a bucket's client follows none.

A name is resolved here and again when the connection is made. That it may point elsewhere by then gains nothing: TLS
asks the server there for a certificate of that name. Where a proxy connects, it resolves too, and names are its to
judge; an address that is written out is judged here all the same.
"""

import ipaddress
import socket
import urllib.request
from http.client import HTTPMessage
from typing import IO, Final
from urllib.parse import urlsplit

from syntrial.errors import SourceError

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

_INSIDE_CLOUDS: Final = tuple(ipaddress.ip_network(found) for found in ("168.63.129.16/32", "192.0.0.0/24"))
"""Public by its number, as far as Python's lists say, and answered inside Azure's and Oracle's networks with what a
machine is told of itself."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def check_redirect(url: str, /, *, field: str) -> None:
    """Raises SourceError where `url`, to which a server led, is not https at public addresses alone."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise _refusal(f"{parts.scheme}://{parts.hostname}", field=field)
    for address in _addresses(parts.hostname, by_proxy=_has_proxy(parts.hostname)):
        if not is_public(address):
            raise _refusal(f"https://{parts.hostname}, which is at {address}", field=field)


class CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to where `check_redirect` lets it; raises SourceError elsewhere."""

    def redirect_request(  # noqa: PLR0917 - as the base class has it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """As the base class has it."""
        try:
            check_redirect(newurl, field=req.full_url)
        except SourceError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_public(address: Ip, /) -> bool:
    """Whether an address is one of the internet: neither private, nor link-local, nor answered inside a cloud."""
    inner = _embedded(address)
    if inner is not None:
        return is_public(inner)
    is_inside = any(address in network for network in _INSIDE_CLOUDS)
    return address.is_global and not address.is_multicast and not is_inside


def _embedded(address: Ip) -> Ip | None:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _addresses(host: str, *, by_proxy: bool) -> list[Ip]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        if by_proxy:
            return []
    # A name that has none is for the connection to tell.
    try:
        found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _has_proxy(host: str) -> bool:
    return "https" in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)


def _refusal(received: str, *, field: str) -> SourceError:
    return SourceError(
        field=field,
        rule="a redirect leads to https at public addresses",
        received=received,
        remedy="See what answers for the server; or fetch the file elsewhere and give its path.",
    )
