"""The daemon: loops at the rim, scheduled jobs, signals, and the service manager's protocol."""
