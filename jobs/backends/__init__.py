"""How a network is trained and judged on each of Keras's backends, one a file; each imports its own.

`compiled(parts) -> Functions`: the loop over the batches runs in compiled code where the backend compiles.
"""
