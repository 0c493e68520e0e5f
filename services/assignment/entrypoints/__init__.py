"""How the outside reaches the handlers: HTTP, and the topics that are followed."""
