"""What stands before the routes, as pure ASGI: request ids, API keys, limits on bodies.

Each room is a class `(app, …) -> ASGI app`; none of them touches a response's body, so streams pass untouched.
"""
