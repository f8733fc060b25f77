"""Agents' browsers: the processes that run the tools of Playwright's MCP server."""
