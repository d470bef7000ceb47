"""Policy, pure: configuration, keys, validation, routes. No sockets, clocks or environment."""
