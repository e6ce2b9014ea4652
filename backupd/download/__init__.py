"""Links in, files out: one attempt, its outcome, the next attempt."""
