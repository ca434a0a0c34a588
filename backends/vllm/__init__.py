"""vLLM, driven through `AsyncLLM`: what it is given, where its models come from, and what becomes of its tokens."""
