"""The units and the tools in deploy/, on a real systemd: a Debian that systemd-nspawn boots."""
