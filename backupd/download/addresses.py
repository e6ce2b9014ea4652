"""Which addresses a name may lead to: those of the public Internet. Pure.

A name that leads into the own machine or network is a mistake or an attack (DNS rebinding),
whatever the certificate says. Forms that carry another address inside count as that one (NAT64), or
are refused because nobody needs them (mapped, compatible, 6to4, Teredo).

Source: the IANA special-purpose address registries, 2026-11.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
# Inside what older Pythons call global.
_NOT_PUBLIC_4 = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("100.64.0.0/10"),
)
_NOT_PUBLIC_6 = (
    IPv6Network("2001::/23"),
    IPv6Network("2002::/16"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
)


def is_public(text: str) -> bool:
    """Say whether an address, as the resolver writes it, is one of the public Internet."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        return _is_public_6(address)
    return _is_public_4(address)


def _is_public_4(address: IPv4Address) -> bool:
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return (
        address.is_global
        and not special
        and not any(address in network for network in _NOT_PUBLIC_4)
    )


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return _is_public_4(IPv4Address(int(address) & 0xFFFF_FFFF))
    return (
        address in _UNICAST
        and address.is_global
        and not any(address in network for network in _NOT_PUBLIC_6)
    )
