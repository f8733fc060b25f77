"""The proxy: one gevent process per appliance, the only one with a public port.

A session's way through it reads from `handler.SessionHandler.serve_session` downwards.
"""
