"""The agent's other half: frames, sessions, and work over several lines."""
