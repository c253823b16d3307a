"""What ledgerd tells of itself: logs, metrics, traces. Read by the roots, which pass plain callables inward."""
