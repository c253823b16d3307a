"""What ledgerd tells of itself: logs. Read by the roots."""
