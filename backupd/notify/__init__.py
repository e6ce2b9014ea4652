"""Where notices go: journal, notice log, channels."""
