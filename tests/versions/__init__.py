"""What a grid offers to clients of each Playwright version: found out with real ones. `make compatibility` runs it."""
