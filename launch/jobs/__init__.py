"""The work of the commands: each module is that of the command of its name, which calls it.

A command reads its arguments without JAX and PyTorch, which take seconds to load, and loads its job
after. Jobs show progress, print what was made, and name arguments in what they say of a mistake.
"""
