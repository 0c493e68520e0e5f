"""Pure rules of the gateway: what an acceptable batch is, and the views."""
