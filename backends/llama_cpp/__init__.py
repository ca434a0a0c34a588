"""llama.cpp, driven through llama-cpp-python's low-level binding with a scheduler of our own."""
