"""C++ kernels for the CPU: a shared library of plain C functions, built here or shipped in the wheel.

`src/` holds the kernels, `build.py` compiles them, `library.py` loads what suits this machine.
"""
