"""The machine's own scheduler keeps the time: an entry of ours in systemd, cron or launchd that calls `run-due`."""
