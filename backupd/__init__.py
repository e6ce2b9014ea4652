"""backupd keeps every ChatGPT export that reaches its owner."""

__version__ = "0.1.0"
