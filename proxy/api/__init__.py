"""The REST API at /api/v1: what operators and clients read and do beside sessions. application.py puts it together."""
