"""Rate limits that hold over all processes of a host: token buckets in a file that they map into their memory."""
