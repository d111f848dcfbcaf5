"""The work of the commands, without their arguments: the command of the same name calls it.

A command reads its arguments without PyTorch, which takes seconds to load, and loads its job after.
"""
