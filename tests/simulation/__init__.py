"""A pool's life, simulated: the real Lua library on a real Redis, with a clock that is moved by hand."""
