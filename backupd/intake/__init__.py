"""The one pipeline, from a found mail to a stored snapshot: the room that sees the whole flow."""
