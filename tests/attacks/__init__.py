"""Attacks: what a hostile client, page, account or host tries against a real grid, one test for each way in."""
