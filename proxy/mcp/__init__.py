"""Agents at /mcp: the Model Context Protocol, and a session of the grid for each agent that uses a browser."""
