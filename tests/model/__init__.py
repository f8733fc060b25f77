"""A model of the grid, against which tests/integration/test_model.py runs the Lua library."""
