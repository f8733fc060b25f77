"""The settings of /mcp, where agents use browsers of the grid by the Model Context Protocol."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from appliance.settings.timings import SecondsOrNever


class McpSettings(BaseSettings):
    """Whether agents are served, and how many."""

    mcp: bool = Field(
        True,
        description="Serve agents at /mcp: Playwright's MCP server, with a session of the grid for each agent.",
    )
    mcp_max_browsers: int = Field(
        20,
        ge=1,
        le=500,
        description="Browsers that agents may have, or wait for, at this appliance at the same time. Each takes about "
        "70 MB of memory beside the browser's own.",
    )
    mcp_idle_timeout: SecondsOrNever = Field(
        600,
        description="Seconds without a call from its agent after which a browser is closed; 0: no limit. The agent's "
        "next call is told so, and the one after that opens a new browser.",
    )
