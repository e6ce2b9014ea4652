"""The `content` and `metadata` of a message for each kind of turn, with the exporter's noise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from backupd.demo.exports.encode import Json
from backupd.demo.exports.values import Asset, Conversation, Turn

Pointer = Callable[[Asset], str]
_KEPT_IN_2026 = (
    "model_slug", "parent_id", "content_references", "attachments", "search_result_groups",
)  # fmt: skip


def content(turn: Turn, point: Pointer) -> dict[str, Json]:
    """Return the content of a turn; `point` writes the pointer to an asset."""
    body = turn.body
    if turn.kind == "aborted":
        return {"content_type": "text", "parts": [""]}
    if turn.kind == "code":
        return {
            "content_type": "code",
            "language": "unknown",
            "response_format_name": None,
            "text": body,
        }
    if turn.kind == "output":
        return {"content_type": "execution_output", "text": body}
    if turn.kind == "recap":
        return {"content_type": "reasoning_recap", "content": body}
    if turn.kind == "thoughts":
        thought: Json = {"summary": body[:40], "content": body, "chunks": [], "finished": True}
        return {
            "content_type": "thoughts",
            "thoughts": [thought],
            "source_analysis_msg_id": turn.parent,
        }
    if turn.kind == "quote":
        return {
            "content_type": "tether_quote",
            "url": f"https://example.org/{turn.token[:8]}",
            "domain": "example.org",
            "text": body,
            "title": body[:30],
            "tether_id": None,
        }
    if turn.kind == "context":
        return {
            "content_type": "user_editable_context",
            "user_profile": body,
            "user_instructions": "Answer briefly.",
        }
    if turn.asset is not None:
        return {"content_type": "multimodal_text", "parts": _parts(turn, turn.asset, point)}
    return {"content_type": "text", "parts": [body]}


def metadata(turn: Turn, conversation: Conversation) -> dict[str, Json]:
    """Return the metadata of a turn as of 2025, with the noise of the conversation in it."""
    shape: dict[str, Json] = {"request_id": turn.token, "timestamp_": "absolute"}
    if turn.role == "system" or turn.kind == "context":
        return {"is_visually_hidden_from_conversation": True, **shape}
    shape |= {"message_source": None, "parent_id": turn.parent}
    if turn.role == "user":
        shape["selected_github_repos"] = []
        shape["serialization_metadata"] = {"custom_symbol_offsets": []}
    else:
        shape |= {
            "citations": [],
            "content_references": [],
            "message_type": "next",
            "model_slug": conversation.model,
            "default_model_slug": "auto",
            "is_complete": turn.kind != "aborted",
            "finish_details": {"type": "stop", "stop_tokens": [200002]},
        }
    if turn.kind in ("thoughts", "recap"):
        shape |= _measured(turn, conversation)
    if turn.kind == "cited":
        shape |= _cited(turn, conversation)
    if turn.asset is not None:
        shape["attachments"] = [
            {"id": turn.asset.id, "size": turn.asset.size, "name": turn.asset.name}
        ]
    return shape


def reduced_metadata(turn: Turn, conversation: Conversation) -> dict[str, Json]:
    """Return the metadata that the exporter of 2026 leaves."""
    full = metadata(turn, conversation)
    return {key: full[key] for key in _KEPT_IN_2026 if key in full}


def signed_url(turn: Turn, noise: int) -> str:
    """Return a link whose signature changes each time the exporter writes it anew."""
    signature = hashlib.sha256(f"{turn.token}{noise}".encode()).hexdigest()
    return f"https://images.example.net/{turn.id}?ts={480_000 + noise}&p=fs&sig={signature}"


def _parts(turn: Turn, asset: Asset, point: Pointer) -> list[Json]:
    if turn.kind == "audio":
        seconds = round(asset.size / 48_000, 3)
        return [
            {
                "content_type": "audio_transcription",
                "text": turn.body,
                "direction": "in",
                "decoding_id": None,
            },
            {
                "expiry_datetime": "2027-01-01T00:00:00Z",
                "content_type": "audio_asset_pointer",
                "asset_pointer": point(asset),
                "size_bytes": asset.size,
                "format": "wav",
                "metadata": {"start": 0.0, "end": seconds},
            },
            None,
        ]
    picture: Json = {
        "content_type": "image_asset_pointer",
        "asset_pointer": point(asset),
        "size_bytes": asset.size,
        "width": 512,
        "height": 512,
        "fovea": None,
        "metadata": {"dalle": None, "sanitized": False},
    }
    return [picture, turn.body]


def _measured(turn: Turn, conversation: Conversation) -> dict[str, Json]:
    """Return the durations of a reasoning turn, measured anew with each noise."""
    jitter = int(turn.token[:2], 16) * (conversation.noise + 1) % 41
    return {
        "reasoning_status": "is_reasoning" if turn.kind == "thoughts" else "reasoning_ended",
        "reasoning_start_time": turn.created - jitter,
        "reasoning_end_time": turn.created + jitter,
        "finished_duration_sec": 9 + jitter,
    }


def _cited(turn: Turn, conversation: Conversation) -> dict[str, Json]:
    url = signed_url(turn, conversation.noise)
    reference: Json = {
        "matched_text": turn.body[turn.body.find("\ue200") : turn.body.find("\ue201") + 1],
        "type": "grouped_webpages",
        "items": [{"title": turn.body[:24], "url": "https://example.org/a", "thumbnail": url}],
    }
    group: Json = {"type": "search_result_group", "domain": "example.org", "entries": [
        {"type": "search_result", "url": "https://example.org/a", "snippet": turn.body[:60]},
    ]}  # fmt: skip
    return {"content_references": [reference], "search_result_groups": [group]}
