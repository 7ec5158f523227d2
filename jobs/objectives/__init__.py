"""What networks are trained for, one objective a file, each the same functions; they import Keras.

`costs(model, x, y, training)`: what each row costs, (rows,), to be summed or averaged and made small.
`judge(model, x, y)`: three of (rows,): the costs, the misses, and how much each row's miss counts.
`error_of(mean_miss)`: the figure that is printed; `ERROR` is what it is called.
`decide(outputs)`: the network's outputs as a user wants them, a NumPy array of a row each.
"""
