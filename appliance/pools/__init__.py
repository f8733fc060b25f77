"""The pools of a running appliance: their size, and those that are there because a client wanted them."""
