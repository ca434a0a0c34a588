"""The HTTP routes. Translation only: wire values in, the orchestrator's stream out, and back."""
