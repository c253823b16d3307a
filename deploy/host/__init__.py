"""What the tools in deploy/ share: where things are on a host, releases, units, and the change from one to the other.

Standard library only, since these run before anything is installed.
"""
