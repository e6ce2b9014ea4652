"""Reading an export: archive bytes, members, conversations, versions."""
