"""What a proxy counts and measures, for Prometheus; docs/metrics.md has all of it."""
