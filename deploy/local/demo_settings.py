"""What differs in the demo: environment variables of the services, such as stages of seconds."""

DEMO_SETTINGS: dict[str, str] = {}
