"""A client of ledgerd's HTTP API, for programs on threads (or greenlets, where gevent has patched them).

It keeps connections, gives each call one deadline, repeats what may be repeated and nothing else, and goes on with another
instance where one fails. Left out on purpose: streams (exports, imports, events), and a method for each route, since `call`
takes any. It stands on urllib3 and the concurrency core, and imports nothing else of ledgerd.
"""

from service.client.client import Client
from service.client.registration import stay_registered
from service.client.request import Reply

__all__ = ["Client", "Reply", "stay_registered"]
