"""The grid's state in Redis: workers, sessions, leases, the queue, tokens. Only this room touches it."""
