"""SSH lines: keys, host keys, the way to a host, packets, channels."""
