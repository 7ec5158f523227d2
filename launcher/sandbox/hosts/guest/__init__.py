"""What runs as a host: its first process, its cloud-init and its SSH server; never the daemon.

Everything here but `sshserver` is standard library only and imports relatively, since a host starts it as the
top-level package `guest`, with neither site-packages nor `launcher` on the path.
"""
