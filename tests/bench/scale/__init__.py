"""A large grid against one real Redis, in real time; only browsers and processes are simulated.

Workers, proxies and their sessions are the real classes with the real Lua library: registration, heartbeats,
mailboxes, launch turns, recycling, claims, leases, tokens, announcements, reaping. They run as greenlets of a few
processes. What differs from a real grid:

- a browser is a pause, and a session is a slot that is held for a while: nothing is dialled;
- the workers of an appliance share their connections for commands, each with a mailbox of its own, since a
  process may not have enough open files for two connections of each worker;
- a worker's mailbox looks for its end less often, which Redis does not notice.
"""
