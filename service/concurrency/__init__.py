"""The concurrency core: what the rest of the service waits, hands over and ends work with.

Standard library only. Everything is built on the locks of `primitives`, so the same code runs on threads and, where gevent
has patched the process first, on greenlets.
"""
