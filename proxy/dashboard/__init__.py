"""The dashboard: a page that shows the grid as it is now, told by a WebSocket."""
