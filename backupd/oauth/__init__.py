"""Signing in to mailboxes by OAuth2: tokens, their refreshing, and the ways a person signs in.

Rules that stay in this room. Access tokens live in memory only. A refresh that the provider refuses
is never repeated without a change. Of an answer only the standard's short error code is ever
quoted: descriptions, addresses and tokens go nowhere (I6).

Source: RFC 6749 (OAuth 2.0), RFC 7636 (PKCE), RFC 8252 (native apps), RFC 8628 (device grant).
"""

from __future__ import annotations
